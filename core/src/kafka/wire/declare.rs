//! The macro that makes a message out of its declaration.

/// Declares a message, or a structure inside one.
///
/// ```text
/// wire! {
///     /// Documentation.
///     request FetchRequest = 1, versions "4-18", flexible "12+", response FetchResponse {
///         /// Documentation.
///         max_bytes: i32 = "3+", ignorable true, default i32::MAX;
///     }
/// }
/// ```
///
/// The notation is that of Kafka's definitions; `response`, `data` (what is neither) and
/// `structure` begin the other kinds. A field has its versions, then in this order what it needs
/// of: `nullable` versions, its `tag` (in all its versions), `ignorable true`, `classic true`
/// (never flexible), and `default` if that isn't zero, false or empty. Out of it come the struct,
/// its `Default`, both directions, and the [`Structure`](super::Structure).
macro_rules! wire {
    (
        $(#[$meta:meta])*
        request $name:ident = $key:literal,
        versions $versions:literal, flexible $flexible:literal, response $response:ident
        { $($fields:tt)* }
    ) => {
        wire! { @message [$(#[$meta])*] $name $versions $flexible { $($fields)* } }

        impl $crate::kafka::wire::Request for $name {
            const KEY: i16 = $key;
            type Response = $response;
        }
    };
    (
        $(#[$meta:meta])*
        response $name:ident, versions $versions:literal, flexible $flexible:literal
        { $($fields:tt)* }
    ) => {
        wire! { @message [$(#[$meta])*] $name $versions $flexible { $($fields)* } }
    };
    (
        $(#[$meta:meta])*
        data $name:ident, versions $versions:literal, flexible $flexible:literal
        { $($fields:tt)* }
    ) => {
        wire! { @message [$(#[$meta])*] $name $versions $flexible { $($fields)* } }
    };
    (
        $(#[$meta:meta])*
        structure $name:ident as $kafka:literal
        { $($fields:tt)* }
    ) => {
        wire! { @structure [
            $(#[$meta])*
            ///
            #[doc = concat!("`", $kafka, "` in Kafka's definitions.")]
        ] $name ($kafka) { $($fields)* } }
    };
    (@message [$($meta:tt)*] $name:ident $versions:literal $flexible:literal { $($fields:tt)* }) => {
        wire! { @structure [$($meta)*] $name (stringify!($name)) { $($fields)* } }

        impl $crate::kafka::wire::Message for $name {
            const NAME: &'static str = stringify!($name);
            const VERSIONS: ::std::ops::RangeInclusive<i16> = {
                let versions = $crate::kafka::wire::Versions::of($versions);
                versions.first..=versions.last
            };
            const FLEXIBLE: i16 = $crate::kafka::wire::Versions::of($flexible).first;
            const STRUCTURE: &'static $crate::kafka::wire::Structure = Self::DECLARATION;

            fn encode(
                &self,
                version: i16,
                to: &mut ::bytes::BytesMut,
            ) -> Result<(), $crate::kafka::wire::WireError> {
                $crate::kafka::wire::message::encode(self, version, to)
            }

            fn decode(
                version: i16,
                from: &mut $crate::kafka::wire::Reader,
            ) -> Result<Self, $crate::kafka::wire::WireError> {
                $crate::kafka::wire::message::decode(version, from)
            }
        }
    };
    (@structure [$($meta:tt)*] $name:ident ($kafka:expr) {
        $(
            $(#[$doc:meta])*
            $field:ident: $type:ty = $versions:literal
            $(, nullable $nullable:literal)?
            $(, tag $tag:literal)?
            $(, ignorable $ignorable:literal)?
            $(, classic $classic:literal)?
            $(, default $default:expr)?
            ;
        )*
    }) => {
        $($meta)*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $( $(#[$doc])* pub $field: $type, )*
        }

        /// The defaults of Kafka's definitions.
        impl Default for $name {
            fn default() -> Self {
                Self {
                    $( $field: wire!(@default $type $(, $default)?), )*
                }
            }
        }

        impl $name {
            const DECLARATION: &'static $crate::kafka::wire::Structure =
                &$crate::kafka::wire::Structure {
                    name: $kafka,
                    fields: &[$(
                        $crate::kafka::wire::Field {
                            name: stringify!($field),
                            kind: <$type as $crate::kafka::wire::codec::Codec>::KIND,
                            versions: $crate::kafka::wire::Versions::of($versions),
                            nullable: wire!(@versions $($nullable)?),
                            tag: wire!(@option $($tag)?),
                            ignorable: false $(|| $ignorable)?,
                            classic: false $(|| $classic)?,
                            default: wire!(@option $(stringify!($default))?),
                        },
                    )*],
                };
        }

        impl $crate::kafka::wire::codec::Codec for $name {
            const KIND: $crate::kafka::wire::Kind =
                $crate::kafka::wire::Kind::Structure(Self::DECLARATION);

            fn initial() -> Self {
                Self::default()
            }

            fn minimum(version: i16, flexible: bool) -> usize {
                // One for the count of tagged fields.
                let mut minimum = usize::from(flexible);
                $(
                    if wire!(@plain $($tag)?)
                        && const { $crate::kafka::wire::Versions::of($versions) }.contains(version)
                    {
                        minimum += <$type as $crate::kafka::wire::codec::Codec>::minimum(
                            version,
                            flexible $(&& !$classic)?,
                        );
                    }
                )*
                minimum
            }

            fn encode(
                &self,
                context: &$crate::kafka::wire::codec::Context,
                to: &mut ::bytes::BytesMut,
            ) -> Result<(), $crate::kafka::wire::WireError> {
                let (version, flexible) = (context.version, context.flexible);
                $(
                    let context = wire!(
                        @context $name $field version flexible
                        ($($nullable)?) ($($classic)?)
                    );
                    if const { $crate::kafka::wire::Versions::of($versions) }.contains(version) {
                        if wire!(@plain $($tag)?) {
                            $crate::kafka::wire::codec::Codec::encode(&self.$field, &context, to)?;
                        }
                    } else if !(false $(|| $ignorable)?)
                        && self.$field != wire!(@default $type $(, $default)?)
                    {
                        return Err($crate::kafka::wire::WireError::NotInVersion {
                            place: context.place,
                            version,
                        });
                    }
                )*
                if flexible {
                    let count = 0 $(+ u32::from(
                        wire!(@tagged self $field $type, $versions, version ($($tag)?) ($($default)?))
                    ))*;
                    $crate::kafka::wire::varint::put_unsigned(count, to);
                    $(
                        if wire!(@tagged self $field $type, $versions, version ($($tag)?) ($($default)?)) {
                            let context = wire!(
                                @context $name $field version flexible
                                ($($nullable)?) ($($classic)?)
                            );
                            let tag = wire!(@tag $($tag)?);
                            $crate::kafka::wire::tagged::encode(tag, &self.$field, &context, to)?;
                        }
                    )*
                }
                Ok(())
            }

            fn decode(
                context: &$crate::kafka::wire::codec::Context,
                from: &mut $crate::kafka::wire::Reader,
            ) -> Result<Self, $crate::kafka::wire::WireError> {
                let (version, flexible) = (context.version, context.flexible);
                let mut value = Self::default();
                $(
                    if wire!(@plain $($tag)?)
                        && const { $crate::kafka::wire::Versions::of($versions) }.contains(version)
                    {
                        let context = wire!(
                            @context $name $field version flexible
                            ($($nullable)?) ($($classic)?)
                        );
                        value.$field = $crate::kafka::wire::codec::Codec::decode(&context, from)?;
                    }
                )*
                if flexible {
                    let mut tagged =
                        $crate::kafka::wire::tagged::TaggedReader::new(stringify!($name), from)?;
                    while let Some(section) = tagged.next(from)? {
                        $(
                            if !wire!(@plain $($tag)?)
                                && section.tag == wire!(@tag $($tag)?)
                                && const { $crate::kafka::wire::Versions::of($versions) }.contains(version)
                            {
                                let context = wire!(
                                    @context $name $field version flexible
                                    ($($nullable)?) ($($classic)?)
                                );
                                value.$field = section.decode(&context, from)?;
                                continue;
                            }
                        )*
                        tagged.skip(&section, from)?;
                    }
                }
                Ok(value)
            }
        }

        impl $crate::kafka::wire::codec::Nullable for $name {
            fn minimum_or_null(_: i16, _: bool) -> usize {
                1
            }

            fn encode_null(_: &$crate::kafka::wire::codec::Context, to: &mut ::bytes::BytesMut) {
                $crate::kafka::wire::codec::encode_absent(to);
            }

            fn encode_some(
                &self,
                context: &$crate::kafka::wire::codec::Context,
                to: &mut ::bytes::BytesMut,
            ) -> Result<(), $crate::kafka::wire::WireError> {
                $crate::kafka::wire::codec::encode_present(self, context, to)
            }

            fn decode_nullable(
                context: &$crate::kafka::wire::codec::Context,
                from: &mut $crate::kafka::wire::Reader,
            ) -> Result<Option<Self>, $crate::kafka::wire::WireError> {
                $crate::kafka::wire::codec::decode_present(context, from)
            }
        }
    };
    (@default $type:ty) => { <$type as $crate::kafka::wire::codec::Codec>::initial() };
    (@default $type:ty, $default:expr) => { $default };
    (@versions) => { $crate::kafka::wire::Versions::NONE };
    (@versions $versions:literal) => { $crate::kafka::wire::Versions::of($versions) };
    (@option) => { None };
    (@option $value:expr) => { Some($value) };
    (@plain) => { true };
    (@plain $tag:literal) => { false };
    (@tag) => { 0 };
    (@tag $tag:literal) => { $tag };
    (@tagged $self:ident $field:ident $type:ty, $versions:literal, $version:ident () $default:tt) => {
        false
    };
    (@tagged $self:ident $field:ident $type:ty, $versions:literal, $version:ident
        ($tag:literal) ($($default:expr)?)) => {
        const { $crate::kafka::wire::Versions::of($versions) }.contains($version)
            && $self.$field != wire!(@default $type $(, $default)?)
    };
    (@context $name:ident $field:ident $version:ident $flexible:ident
        ($($nullable:literal)?) ($($classic:literal)?)) => {
        $crate::kafka::wire::codec::Context {
            version: $version,
            flexible: $flexible $(&& !$classic)?,
            nullable: const { wire!(@versions $($nullable)?) }.contains($version),
            place: $crate::kafka::wire::Place {
                message: stringify!($name),
                field: stringify!($field),
            },
        }
    };
}

pub(super) use wire;
