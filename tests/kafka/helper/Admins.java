import com.fasterxml.jackson.databind.JsonNode;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.MemberDescription;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.quota.ClientQuotaAlteration;
import org.apache.kafka.common.quota.ClientQuotaEntity;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;

/** What an administrator does: topics, groups, offsets. One admin client for each bootstrap list. */
final class Admins {
    private static final Map<String, Admin> OPEN = new ConcurrentHashMap<>();

    private static Admin of(JsonNode request) {
        return OPEN.computeIfAbsent(Helper.text(request, "bootstrap"), bootstrap -> {
            Properties properties = new Properties();
            properties.put("bootstrap.servers", bootstrap);
            // A stopped broker must not hold up a question that another one can answer.
            properties.put("request.timeout.ms", "2000");
            properties.put("socket.connection.setup.timeout.ms", "1000");
            properties.put("socket.connection.setup.timeout.max.ms", "2000");
            properties.put("default.api.timeout.ms", "10000");
            properties.put("reconnect.backoff.max.ms", "200");
            return Admin.create(properties);
        });
    }

    static void forget(String bootstrap) {
        Admin admin = OPEN.remove(bootstrap);
        if (admin != null) {
            admin.close(Duration.ZERO);
        }
    }

    /** A question is asked anew where brokers died or stand still: the client may wait for those only. */
    static Object patiently(JsonNode request, Callable<Object> question) throws Exception {
        for (int attempt = 0;; attempt++) {
            try {
                return question.call();
            } catch (ExecutionException | TimeoutException error) {
                boolean late = error instanceof TimeoutException || error.getCause() instanceof TimeoutException;
                if (!late || attempt == 5) {
                    throw error;
                }
                forget(Helper.text(request, "bootstrap"));
            }
        }
    }

    static Object createTopic(JsonNode request) throws Exception {
        NewTopic topic = new NewTopic(Helper.text(request, "topic"), Optional.of(request.required("partitions").asInt()),
                Optional.of((short) request.required("replication").asInt()));
        topic.configs(pairs(request.path("configs")));
        of(request).createTopics(List.of(topic)).all().get();
        // Created is what the controller says. The brokers know it a moment later, and their metadata
        // a moment before their logs: only who answers about its log has it.
        int partitions = request.required("partitions").asInt();
        for (int attempt = 0; attempt < 500; attempt++) {
            try {
                if (ends(request, OffsetSpec.latest()).size() == partitions) {
                    return null;
                }
            } catch (ExecutionException notYet) {
                // Asked again.
            }
            Thread.sleep(20);
        }
        throw new IllegalStateException("the new topic has no leaders");
    }

    static Object deleteTopic(JsonNode request) throws Exception {
        of(request).deleteTopics(List.of(Helper.text(request, "topic"))).all().get();
        return null;
    }

    static Object addPartitions(JsonNode request) throws Exception {
        NewPartitions more = NewPartitions.increaseTo(request.required("total").asInt());
        of(request).createPartitions(Map.of(Helper.text(request, "topic"), more)).all().get();
        return null;
    }

    static Object alterTopic(JsonNode request) throws Exception {
        ConfigResource topic = new ConfigResource(ConfigResource.Type.TOPIC, Helper.text(request, "topic"));
        List<AlterConfigOp> set = new ArrayList<>();
        pairs(request.path("configs")).forEach((name, value) ->
                set.add(new AlterConfigOp(new ConfigEntry(name, value), AlterConfigOp.OpType.SET)));
        of(request).incrementalAlterConfigs(Map.of(topic, set)).all().get();
        return null;
    }

    static Object deleteRecords(JsonNode request) throws Exception {
        RecordsToDelete before = RecordsToDelete.beforeOffset(request.required("before").asLong());
        of(request).deleteRecords(Map.of(partition(request), before)).all().get();
        return null;
    }

    /** The offsets of all partitions in order: where the log starts, or where it ends. */
    static Object offsets(JsonNode request) throws Exception {
        OffsetSpec which = switch (Helper.text(request, "which")) {
            case "start" -> OffsetSpec.earliest();
            case "end" -> OffsetSpec.latest();
            default -> throw new IllegalArgumentException("start or end");
        };
        return ends(request, which).values();
    }

    private static Map<Integer, Long> ends(JsonNode request, OffsetSpec which) throws Exception {
        Map<TopicPartition, OffsetSpec> asked = new HashMap<>();
        for (TopicPartitionInfo partition : describe(request).partitions()) {
            asked.put(new TopicPartition(Helper.text(request, "topic"), partition.partition()), which);
        }
        Map<Integer, Long> found = new TreeMap<>();
        of(request).listOffsets(asked).all().get().forEach((at, info) -> found.put(at.partition(), info.offset()));
        return found;
    }

    /** For each partition in order: its leader (-1: none), its replicas and those in sync. */
    static Object partitions(JsonNode request) throws Exception {
        List<Object> all = new ArrayList<>();
        for (TopicPartitionInfo partition : describe(request).partitions()) {
            all.add(Map.of(
                    "leader", partition.leader() == null ? -1 : partition.leader().id(),
                    "replicas", partition.replicas().stream().map(node -> node.id()).toList(),
                    "in_sync", partition.isr().stream().map(node -> node.id()).toList()));
        }
        return all;
    }

    /** Makes the broker the preferred leader, and elects it. */
    static Object moveLeader(JsonNode request) throws Exception {
        TopicPartition partition = partition(request);
        int to = request.required("to").asInt();
        List<Integer> replicas = new ArrayList<>(List.of(to));
        describe(request).partitions().get(partition.partition()).replicas().stream()
                .map(node -> node.id()).filter(id -> id != to).forEach(replicas::add);
        NewPartitionReassignment order = new NewPartitionReassignment(replicas);
        of(request).alterPartitionReassignments(Map.of(partition, Optional.of(order))).all().get();
        while (!of(request).listPartitionReassignments(Set.of(partition)).reassignments().get().isEmpty()) {
            Thread.sleep(20);
        }
        if (describe(request).partitions().get(partition.partition()).leader().id() != to) {
            of(request).electLeaders(ElectionType.PREFERRED, Set.of(partition)).all().get();
        }
        return null;
    }

    /** Lets a user do something with a topic or a group. */
    static Object allow(JsonNode request) throws Exception {
        var resource = new ResourcePattern(ResourceType.fromString(Helper.text(request, "kind")),
                Helper.text(request, "name"), PatternType.LITERAL);
        var entry = new AccessControlEntry("User:" + Helper.text(request, "user"), "*",
                AclOperation.fromString(Helper.text(request, "operation")), AclPermissionType.ALLOW);
        of(request).createAcls(List.of(new AclBinding(resource, entry))).all().get();
        return null;
    }

    /** A quota for every client that has none of its own. */
    static Object throttle(JsonNode request) throws Exception {
        var everybody = new ClientQuotaEntity(Collections.singletonMap(ClientQuotaEntity.CLIENT_ID, null));
        var quota = new ClientQuotaAlteration.Op(Helper.text(request, "quota"), request.required("to").asDouble());
        of(request).alterClientQuotas(List.of(new ClientQuotaAlteration(everybody, List.of(quota)))).all().get();
        return null;
    }

    static Object group(JsonNode request) throws Exception {
        String name = Helper.text(request, "group");
        ConsumerGroupDescription group =
                of(request).describeConsumerGroups(List.of(name)).describedGroups().get(name).get();
        List<Object> members = new ArrayList<>();
        for (MemberDescription member : group.members()) {
            List<Object> held = new ArrayList<>();
            member.assignment().topicPartitions().stream()
                    .sorted((a, b) -> (a.topic() + a.partition()).compareTo(b.topic() + b.partition()))
                    .forEach(at -> held.add(List.of(at.topic(), at.partition())));
            members.add(Map.of(
                    "id", member.consumerId(),
                    "client_id", member.clientId(),
                    "instance", member.groupInstanceId().orElse(""),
                    "epoch", member.memberEpoch().orElse(-1),
                    "partitions", held));
        }
        return Map.of(
                "state", group.groupState().toString(),
                "kind", group.type().toString(),
                "assignor", group.partitionAssignor(),
                "coordinator", group.coordinator() == null ? -1 : group.coordinator().id(),
                "members", members);
    }

    static Object committed(JsonNode request) throws Exception {
        List<Object> all = new ArrayList<>();
        of(request).listConsumerGroupOffsets(Helper.text(request, "group")).partitionsToOffsetAndMetadata().get()
                .forEach((at, offset) -> {
                    if (offset != null) {
                        all.add(Map.of(
                                "topic", at.topic(),
                                "partition", at.partition(),
                                "offset", offset.offset(),
                                "leader_epoch", offset.leaderEpoch().orElse(-1),
                                "metadata", offset.metadata()));
                    }
                });
        return all;
    }

    static Object commit(JsonNode request) throws Exception {
        OffsetAndMetadata offset = new OffsetAndMetadata(request.required("offset").asLong());
        of(request).alterConsumerGroupOffsets(Helper.text(request, "group"), Map.of(partition(request), offset))
                .all().get();
        return null;
    }

    static Object deleteGroup(JsonNode request) throws Exception {
        of(request).deleteConsumerGroups(List.of(Helper.text(request, "group"))).all().get();
        return null;
    }

    private static TopicDescription describe(JsonNode request) throws Exception {
        String topic = Helper.text(request, "topic");
        return of(request).describeTopics(List.of(topic)).allTopicNames().get().get(topic);
    }

    private static TopicPartition partition(JsonNode request) {
        return new TopicPartition(Helper.text(request, "topic"), request.required("partition").asInt());
    }

    static Map<String, String> pairs(JsonNode list) {
        Map<String, String> pairs = new HashMap<>();
        list.forEach(pair -> pairs.put(pair.get(0).asText(), pair.get(1).asText()));
        return pairs;
    }
}
