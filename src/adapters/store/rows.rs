//! Rows: how the domain's values are written down as JSON, and the only serde of stored things. The domain knows
//! nothing of it: [`record!`] and [`choice!`] name each field, and a field that is added breaks the
//! build here.
//!
//! A field that a row lacks reads as nothing where its type allows (`Option`, `Vec`), so rows of an older
//! atalaya stay readable when such a field is added; any other new field needs a migration.
//! Times are RFC 3339 in full precision; floats are exact to one unit in the last place.

use std::{
    collections::HashSet,
    fmt,
    marker::PhantomData,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, IgnoredAny, MapAccess, Visitor},
    ser::{SerializeMap, SerializeTuple},
};

use super::columns::{self, Garbled, text};
use crate::domain::{
    alert::group::Group,
    delivery::{Body, Button, Event, Message, Span},
    detector::Rhythm,
    id::{DeliveryId, GroupId, IncidentId, Kind, Name, Origin, ReceiverId, SourceId, WatchId},
    incident::{Acknowledgement, Digest, Ending, Flapping, Hold, Incident, Severity, Step, Unrest},
    silence::{Silence, Target},
    text::Text,
    watch::{
        self, Cause, Condition, Subject,
        beat::{Beat, Busy, Progress, Report},
    },
};

/// Words of the code (glyphs, events, defaults) that are kept for the life of the process; there are a
/// few dozen, and a garbled file must not fill the memory with more.
const WORDS_MAX: usize = 4_096;

/// A domain value as JSON.
///
/// # Errors
/// When the value cannot be written as JSON; no value of the domain is known that cannot.
pub(super) fn json<T: Stored>(value: &T) -> Result<String, serde_json::Error> {
    serde_json::to_string(&Out(value))
}

pub(super) fn from_json<T: Stored>(text: &str) -> Result<T, Garbled> {
    serde_json::from_str::<In<T>>(text).map(|it| it.0).map_err(|error| Garbled(error.to_string()))
}

/// The facts of a watch; whose they are is not written among them.
///
/// # Errors
/// As [`json`].
pub(super) fn state_json(state: &watch::State) -> Result<String, serde_json::Error> {
    match state {
        watch::State::Agent(state) => json(state),
    }
}

/// Facts of a watch of this kind.
pub(super) fn state(kind: Kind, text: &str) -> Result<watch::State, Garbled> {
    match kind {
        Kind::Agent => from_json(text).map(watch::State::Agent),
        Kind::Source | Kind::Receiver | Kind::Myself => {
            Err(Garbled(format!("a {} keeps no facts", kind.word())))
        }
    }
}

/// The word of the code that is written so: the domain holds such words as `&'static str`.
fn word(text: &str) -> &'static str {
    static WORDS: Mutex<Option<HashSet<&'static str>>> = Mutex::new(None);
    let mut guard = WORDS.lock().unwrap_or_else(PoisonError::into_inner);
    let words = guard.get_or_insert_default();
    if let Some(known) = words.get(text) {
        return known;
    }
    if WORDS_MAX <= words.len() {
        return "unknown";
    }
    let kept: &'static str = Box::leak(text.into());
    words.insert(kept);
    kept
}

/// Serde for types that may not know of it.
pub(super) trait Stored: Sized {
    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error>;

    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error>;

    /// What a missing field means, if it may be missing.
    fn absent() -> Option<Self> {
        None
    }

    /// Whether the field need not be written.
    fn is_absent(&self) -> bool {
        false
    }

    /// What a `null` within an `Option` of it means: `Some(None)` of an option of an option, else none.
    fn null() -> Option<Self> {
        None
    }
}

struct Out<'a, T>(&'a T);

impl<T: Stored> Serialize for Out<'_, T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.write(to)
    }
}

struct In<T>(T);

impl<'de, T: Stored> Deserialize<'de> for In<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        T::read(from).map(Self)
    }
}

/// Under another name, because serde's derive would borrow a `&'static str` from the row.
type Word = &'static str;

/// For `#[serde(with)]`.
mod stored {
    use super::{Deserializer, Serializer, Stored};

    pub(super) fn serialize<T: Stored, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        value.write(to)
    }

    pub(super) fn deserialize<'de, T: Stored, D: Deserializer<'de>>(
        from: D,
    ) -> Result<T, D::Error> {
        T::read(from)
    }
}

impl<T: Stored> Stored for Option<T> {
    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.as_ref().map(Out).serialize(to)
    }

    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Option::<In<T>>::deserialize(from)?.map_or_else(T::null, |it| Some(it.0)))
    }

    fn absent() -> Option<Self> {
        Some(None)
    }

    fn is_absent(&self) -> bool {
        self.is_none()
    }

    fn null() -> Option<Self> {
        Some(None)
    }
}

impl<T: Stored> Stored for Vec<T> {
    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.iter().map(Out))
    }

    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Vec::<In<T>>::deserialize(from)?.into_iter().map(|it| it.0).collect())
    }

    fn absent() -> Option<Self> {
        Some(Self::new())
    }

    fn is_absent(&self) -> bool {
        self.is_empty()
    }
}

impl<T: Stored> Stored for Arc<T> {
    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        T::write(self, to)
    }

    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        T::read(from).map(Self::new)
    }
}

impl<A: Stored, B: Stored> Stored for (A, B) {
    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut pair = to.serialize_tuple(2)?;
        pair.serialize_element(&Out(&self.0))?;
        pair.serialize_element(&Out(&self.1))?;
        pair.end()
    }

    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        <(In<A>, In<B>)>::deserialize(from).map(|(a, b)| (a.0, b.0))
    }
}

/// Types that serde knows.
macro_rules! plain {
    ($($type:ty),*) => { $(
        impl Stored for $type {
            fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                self.serialize(to)
            }

            fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                Self::deserialize(from)
            }
        }
    )* };
}

/// Types that stand for another: how to see it, and how to come back, which may fail in words.
macro_rules! stands_for {
    ($($type:ty as $inner:ty: |$it:ident| $see:expr, $back:expr;)*) => { $(
        impl Stored for $type {
            fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                let $it = self;
                $see.serialize(to)
            }

            fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let back: fn($inner) -> Result<Self, String> = $back;
                back(<$inner>::deserialize(from)?).map_err(de::Error::custom)
            }
        }
    )* };
}

/// A struct as a JSON object.
macro_rules! record {
    ($type:ty { $($field:ident),* $(,)? }) => {
        impl Stored for $type {
            fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                let Self { $($field),* } = self;
                let mut map = to.serialize_map(None)?;
                $( if !$field.is_absent() {
                    map.serialize_entry(stringify!($field), &Out($field))?;
                } )*
                map.end()
            }

            fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                from.deserialize_map(Fields::<$type>(PhantomData))
            }
        }

        impl<'de> Visitor<'de> for Fields<$type> {
            type Value = $type;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(concat!("an object of ", stringify!($type)))
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<$type, M::Error> {
                type Made = $type;
                $( let mut $field = None; )*
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        $( stringify!($field) => {
                            $field = Some(map.next_value::<In<_>>()?.0);
                        } )*
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(Made { $( $field: match $field.or_else(Stored::absent) {
                    Some(value) => value,
                    None => return Err(de::Error::missing_field(stringify!($field))),
                } ),* })
            }
        }
    };
}

struct Fields<T>(PhantomData<T>);

/// An enum as its word, or an object of one key: the word.
macro_rules! choice {
    ($row:ident as $path:literal of $type:ty {
        $( $variant:ident $( { $($field:ident: $of:ty),* } )? $( ( $inner:ty ) )? ),* $(,)?
    }) => {
        #[derive(Serialize, Deserialize)]
        #[serde(remote = $path, rename_all = "snake_case")]
        enum $row {
            $( $variant
                $( { $( #[serde(with = "stored")] $field: $of ),* } )?
                $( ( #[serde(with = "stored")] $inner ) )?
            ),*
        }

        impl Stored for $type {
            fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                $row::serialize(self, to)
            }

            fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                $row::deserialize(from)
            }
        }
    };
}

mod agent;

plain!(bool, u8, u32, u64, usize, f32, f64, String, Timestamp, SignedDuration);

stands_for! {
    &'static str as String: |it| it, |it| Ok(word(&it));
    Arc<str> as String: |it| **it, |it| Ok(it.into());
    Text as String: |it| it.as_str(), |it| Ok(text(&it));
    Name as String: |it| it.as_str(), |it| {
        it.parse().map_err(|bad: crate::domain::id::BadName| bad.to_string())
    };
    WatchId as String: |it| it.to_string(), |it| columns::watch(&it).map_err(|bad| bad.0);
    ReceiverId as String: |it| it.0.as_ref(), |it| Ok(Self::new(&it));
    IncidentId as u64: |it| it.0, |it| Ok(Self(it));
    GroupId as u64: |it| it.0, |it| Ok(Self(it));
    DeliveryId as u64: |it| it.0, |it| Ok(Self(it));
    SourceId as u8: |it| it.0, |it| Ok(Self(it));
    Condition as String: |it| it.word(), |it| {
        Self::from_word(&it).ok_or_else(|| format!("unknown condition {it:?}"))
    };
    Severity as String: |it| it.word(), |it| {
        Self::from_word(&it).ok_or_else(|| format!("unknown severity {it:?}"))
    };
}

choice!(OriginRow as "Origin" of Origin {
    File { path: Arc<str>, line: u32 },
    Default(Word),
});

record!(Subject {
    watch,
    name,
    origin,
    notify,
    severity,
    self_registered,
    timeout,
    aliases,
    group
});

choice!(CauseRow as "Cause" of Cause {
    Silence { last: Option<Timestamp>, limit: SignedDuration },
    Beat,
    Said { status: Text, exit: Option<u8> },
    NoProgress { since: Timestamp, limit: SignedDuration },
    Repeats { count: u32 },
    Unanswered { since: Timestamp, limit: SignedDuration },
    Lease { op: Text, until: Timestamp },
    Paused { by: Text },
    Resumed { by: Text },
    SettingsChanged,
    Restated,
    Removed,
    Hearing,
    Fault(Text),
    Merged { count: u32 },
});

record!(Incident {
    id,
    watch,
    subject,
    condition,
    severity,
    opened_at,
    cause,
    task,
    acknowledgement,
    resolved,
    occurrences,
    relapses,
    told,
    revision,
    chain,
    steps_told,
    next_step_at,
    repeat_at,
    maintenance_until,
    held,
    unrest,
    digest,
});
record!(Acknowledgement { by, reason, at, until });
record!(Hold { by, until });
record!(Digest { due, told });
record!(Unrest { changes, flapping });
record!(Flapping { since, count, severity, told });
record!(Step { after, to });
choice!(EndingRow as "Ending" of Ending {
    Recovered,
    Became(Condition),
    Paused,
    NoLongerWatched,
    SettingsChanged,
    ByHand { by: Text, reason: Option<Text> },
});

record!(Group {
    id,
    receiver,
    condition,
    members,
    opened_at,
    revision,
    rang_at,
    members_at_ring,
    closed,
    sealed,
});

record!(Silence { id, target, by, reason, from, until, muted });
choice!(TargetRow as "Target" of Target { Watch(WatchId), Pattern(String), Group(Name) });

choice!(BodyRow as "Body" of Body {
    New { message: Message, rings: bool },
    Edit { message: Message },
    Event(Event),
});
record!(Message { glyph, headline, lines, quote, footer, buttons });
record!(Event { event, incident, status, message, source });
choice!(SpanRow as "Span" of Span {
    Plain(String),
    Bold(String),
    Italic(String),
    Code(String),
});
choice!(ButtonRow as "Button" of Button {
    Acknowledge(usize),
    Release,
    SilenceOneHour,
    Why,
    List,
    Forget,
    GotIt,
});

record!(Rhythm { count, mean, variance, longest, recent });
record!(Beat { at, source, report, claimed, seq, task, progress, busy, metadata, run, malformed });
choice!(ReportRow as "Report" of Report {
    Alive,
    Working,
    Idle,
    NeedsInput,
    Degraded(Text),
    Stopping,
    Start,
    Success,
    Fail { exit: Option<u8> },
    Log,
});
choice!(ProgressRow as "Progress" of Progress { Count(u64), Digest(Arc<str>) });
choice!(BusyRow as "Busy" of Busy { Keep, End, Until { op: Text, for_: SignedDuration } });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_task_is_not_an_unsaid_one() {
        let mut beat = Beat::plain(Timestamp::UNIX_EPOCH, SourceId(1));
        for task in [None, Some(None), Some(Some(text("refactor")))] {
            beat.task = task;
            assert_eq!(from_json::<Beat>(&json(&beat).unwrap()).unwrap(), beat);
        }
    }

    #[test]
    fn garbled_rows_are_told_and_a_field_of_the_future_is_passed_over() {
        let step = r#"{"after":"PT15M","to":["hook"],"colour":"red"}"#;
        let read = from_json::<Step>(step).unwrap();
        assert_eq!(read.to, [ReceiverId::new("hook")]);
        for bad in ["", "[]", "{}", "\u{0}", r#"{"after":"soon"}"#, r#"{"after":{"a":1}}"#] {
            assert!(from_json::<Step>(bad).is_err(), "{bad}");
        }
        assert!(from_json::<Step>(r#"{"to":[]}"#).unwrap_err().0.contains("after"));
        assert!(from_json::<Condition>(r#""merry""#).unwrap_err().0.contains("merry"));
        assert!(columns::watch("ghost/x").is_err());
        assert!(columns::watch("mary").is_err());
    }
}
