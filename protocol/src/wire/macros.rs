//! The tables that messages are written as.

/// Declares one struct of the protocol, readable and writable in every version it has.
///
/// ```text
/// message! { pub struct Partition<'a> {
///     index: i32,                          in every version
///     leader_epoch: i32 [9..] = -1,        from version 9; -1 before
///     name: &'a str [4..=12],              versions 4 to 12
///     records: Option<Records<'a>>,        may be null
///     ;
///     0 => diverging: EpochEnd [12..],     tagged field 0: left out when it equals its default
/// } }
/// ```
///
/// A field absent from a version reads as its default and is not written. Tagged fields exist in
/// flexible versions only, unknown ones are passed over.
macro_rules! message {
    ($(#[$meta:meta])* pub struct $name:ident<$lt:lifetime> { $($body:tt)* }) => {
        $crate::wire::macros::message_impl! { [$lt] [<$lt>] $(#[$meta])* $name { $($body)* } }
    };
    ($(#[$meta:meta])* pub struct $name:ident { $($body:tt)* }) => {
        $crate::wire::macros::message_impl! { ['wire] [] $(#[$meta])* $name { $($body)* } }
    };
}

macro_rules! message_impl {
    ([$lt:lifetime] [$($generics:tt)*] $(#[$meta:meta])* $name:ident {
        $( $(#[$field_meta:meta])* $field:ident : $ty:ty $([$($range:tt)+])? $(= $default:expr)?, )*
        $(; $( $(#[$tag_meta:meta])* $tag:literal => $tagged:ident : $tag_ty:ty $([$($tag_range:tt)+])? $(= $tag_default:expr)?, )* )?
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name $($generics)* {
            $(
                $(#[$field_meta])*
                #[doc = concat!("`", stringify!($field), "`" $(, ", versions `", stringify!($($range)+), "`")? $(, ", default `", stringify!($default), "`")?, ".")]
                pub $field: $ty,
            )*
            $($(
                $(#[$tag_meta])*
                #[doc = concat!("`", stringify!($tagged), "`, tag ", stringify!($tag) $(, ", versions `", stringify!($($tag_range)+), "`")? $(, ", default `", stringify!($tag_default), "`")?, ".")]
                pub $tagged: $tag_ty,
            )*)?
        }

        impl $($generics)* Default for $name $($generics)* {
            fn default() -> Self {
                Self {
                    $( $field: $crate::wire::macros::or_default!($($default)?), )*
                    $($( $tagged: $crate::wire::macros::or_default!($($tag_default)?), )*)?
                }
            }
        }

        impl<$lt> $crate::wire::Decode<$lt> for $name $($generics)* {
            fn min_len(version: $crate::wire::Version) -> usize {
                let tags = usize::from(version.flexible);
                tags $( .saturating_add(if $crate::wire::field_in_version!(version $(, $($range)+)?) {
                    <$ty as $crate::wire::Decode<$lt>>::min_len(version)
                } else {
                    0
                }) )*
            }

            #[inline]
            fn read(
                reader: &mut $crate::wire::Reader<$lt>,
                version: $crate::wire::Version,
            ) -> Result<Self, $crate::wire::Malformed> {
                $(
                    let $field: $ty = if $crate::wire::field_in_version!(version $(, $($range)+)?) {
                        <$ty as $crate::wire::Decode<$lt>>::read(reader, version)
                            .map_err(|err| err.at(concat!(stringify!($name), ".", stringify!($field))))?
                    } else {
                        $crate::wire::macros::or_default!($($default)?)
                    };
                )*
                $($( let mut $tagged: $tag_ty = $crate::wire::macros::or_default!($($tag_default)?); )*)?
                if version.flexible {
                    reader.tagged_fields(|tag, reader| {
                        match tag {
                            $($(
                                $tag if $crate::wire::field_in_version!(version $(, $($tag_range)+)?) => {
                                    $tagged = <$tag_ty as $crate::wire::Decode<$lt>>::read(reader, version)
                                        .map_err(|err| err.at(concat!(stringify!($name), ".", stringify!($tagged))))?;
                                    reader.end()
                                        .map_err(|err| err.at(concat!(stringify!($name), ".", stringify!($tagged))))?;
                                }
                            )*)?
                            _ => { let _ = reader; }
                        }
                        Ok(())
                    }).map_err(|err| err.at(concat!(stringify!($name), " tagged fields")))?;
                }
                Ok(Self { $( $field, )* $($( $tagged, )*)? })
            }

            fn pass(
                reader: &mut $crate::wire::Reader<$lt>,
                version: $crate::wire::Version,
            ) -> Result<(), $crate::wire::Malformed> {
                $(
                    if $crate::wire::field_in_version!(version $(, $($range)+)?) {
                        <$ty as $crate::wire::Decode<$lt>>::pass(reader, version)
                            .map_err(|err| err.at(concat!(stringify!($name), ".", stringify!($field))))?;
                    }
                )*
                if version.flexible {
                    reader.tagged_fields(|tag, reader| {
                        match tag {
                            $($(
                                $tag if $crate::wire::field_in_version!(version $(, $($tag_range)+)?) => {
                                    <$tag_ty as $crate::wire::Decode<$lt>>::pass(reader, version)
                                        .map_err(|err| err.at(concat!(stringify!($name), ".", stringify!($tagged))))?;
                                    reader.end()
                                        .map_err(|err| err.at(concat!(stringify!($name), ".", stringify!($tagged))))?;
                                }
                            )*)?
                            _ => { let _ = reader; }
                        }
                        Ok(())
                    }).map_err(|err| err.at(concat!(stringify!($name), " tagged fields")))?;
                }
                Ok(())
            }
        }

        impl $($generics)* $crate::wire::Encode for $name $($generics)* {
            fn write(&self, writer: &mut $crate::wire::Writer, version: $crate::wire::Version) {
                $(
                    if $crate::wire::field_in_version!(version $(, $($range)+)?) {
                        $crate::wire::Encode::write(&self.$field, writer, version);
                    }
                )*
                if version.flexible {
                    let present: u32 = 0 $($(
                        + u32::from(
                            $crate::wire::field_in_version!(version $(, $($tag_range)+)?)
                                && self.$tagged != $crate::wire::macros::or_default!($($tag_default)?; $tag_ty)
                        )
                    )*)?;
                    writer.unsigned_varint(present);
                    $($(
                        if $crate::wire::field_in_version!(version $(, $($tag_range)+)?)
                            && self.$tagged != $crate::wire::macros::or_default!($($tag_default)?; $tag_ty)
                        {
                            writer.tagged_field($tag, |writer| {
                                $crate::wire::Encode::write(&self.$tagged, writer, version);
                            });
                        }
                    )*)?
                }
            }
        }

        impl<$lt> $crate::wire::Nullable<$lt> for $name $($generics)* {
            fn min_len(_: $crate::wire::Version) -> usize {
                1
            }

            fn read_nullable(
                reader: &mut $crate::wire::Reader<$lt>,
                version: $crate::wire::Version,
            ) -> Result<Option<Self>, $crate::wire::Malformed> {
                let is_present = $crate::wire::struct_is_present(reader)?;
                is_present
                    .then(|| <Self as $crate::wire::Decode<$lt>>::read(reader, version))
                    .transpose()
            }
        }

        impl $($generics)* $crate::wire::Encode for Option<$name $($generics)*> {
            fn write(&self, writer: &mut $crate::wire::Writer, version: $crate::wire::Version) {
                $crate::wire::write_struct_presence(writer, self.is_some());
                if let Some(value) = self {
                    value.write(writer, version);
                }
            }
        }

        #[cfg(feature = "generate")]
        impl $($generics)* $crate::generate::Generate for $name $($generics)* {
            fn generate(source: &mut $crate::generate::Source, version: $crate::wire::Version) -> Self {
                Self {
                    $( $field: if $crate::wire::field_in_version!(version $(, $($range)+)?) {
                        $crate::generate::Generate::generate(source, version)
                    } else {
                        $crate::wire::macros::or_default!($($default)?)
                    }, )*
                    $($( $tagged: if version.flexible
                        && $crate::wire::field_in_version!(version $(, $($tag_range)+)?)
                        && source.coin()
                    {
                        $crate::generate::Generate::generate(source, version)
                    } else {
                        $crate::wire::macros::or_default!($($tag_default)?)
                    }, )*)?
                }
            }
        }
    };
}

/// The declared default, or the type's own.
macro_rules! or_default {
    () => {
        Default::default()
    };
    ($default:expr) => {
        $default
    };
    (; $ty:ty) => {
        <$ty>::default()
    };
    ($default:expr; $ty:ty) => {
        $default
    };
}

/// Whether a field is part of a version.
macro_rules! field_in_version {
    ($version:expr) => { true };
    ($version:expr, $($range:tt)+) => { ($($range)+).contains(&$version.number) };
}

pub(crate) use {field_in_version, message, message_impl, or_default};
