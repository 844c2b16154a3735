//! Ids that a broker makes up, by the order in which they appear.

use super::ask::Ask;

/// One side's ids. A member is `@0`, `@1` and so on in requests and in what is compared.
#[derive(Debug, Default)]
pub struct Names {
    members: Vec<String>,
    sessions: Vec<i32>,
}

impl Names {
    /// The number of a member id that a broker made up; others stay as they are.
    pub fn member(&mut self, id: &mut String) {
        if id.len() < MADE_UP {
            return;
        }
        let at = self.members.iter().position(|known| known == id).unwrap_or_else(|| {
            self.members.push(id.clone());
            self.members.len() - 1
        });
        *id = format!("@{at}");
    }

    /// The number of a fetch session; 0 stays 0.
    pub fn session(&mut self, id: &mut i32) {
        if *id == 0 {
            return;
        }
        let at = self.sessions.iter().position(|known| known == id).unwrap_or_else(|| {
            self.sessions.push(*id);
            self.sessions.len() - 1
        });
        *id = i32::try_from(at).unwrap() + 1;
    }

    /// The request with this side's ids.
    pub fn bind(&self, ask: &Ask) -> Ask {
        let mut ask = ask.clone();
        let member = |id: &mut String| {
            let number = id.strip_prefix('@').and_then(|number| number.parse::<usize>().ok());
            if let Some(known) = number.and_then(|number| self.members.get(number)) {
                id.clone_from(known);
            }
        };
        match &mut ask {
            Ask::JoinGroup(_, request) => member(&mut request.member_id),
            Ask::SyncGroup(_, request) => {
                member(&mut request.member_id);
                request.assignments.iter_mut().for_each(|one| member(&mut one.member_id));
            }
            Ask::Heartbeat(_, request) => member(&mut request.member_id),
            Ask::LeaveGroup(_, request) => {
                member(&mut request.member_id);
                request.members.iter_mut().for_each(|one| member(&mut one.member_id));
            }
            Ask::ConsumerGroupHeartbeat(_, request) => member(&mut request.member_id),
            Ask::OffsetCommit(_, request) => member(&mut request.member_id),
            Ask::OffsetFetch(_, request) => {
                request.groups.iter_mut().filter_map(|group| group.member_id.as_mut()).for_each(member);
            }
            Ask::Fetch(_, request) => {
                let number = usize::try_from(request.session_id).unwrap_or(0);
                if let Some(known) = self.sessions.get(number.wrapping_sub(1)) {
                    request.session_id = *known;
                }
            }
            Ask::FindCoordinator(..)
            | Ask::ListOffsets(..)
            | Ask::OffsetForLeaderEpoch(..)
            | Ask::Produce(..) => {}
        }
        ask
    }
}

/// What a broker makes up has a UUID in it: 36 characters, or 22 in base64. A dialogue's own ids are
/// shorter.
const MADE_UP: usize = 22;
