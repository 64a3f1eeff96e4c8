//! Rows of agents.

use std::{fmt, marker::PhantomData, sync::Arc};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, IgnoredAny, MapAccess, Visitor},
    ser::SerializeMap,
};

use super::{Fields, In, Out, Stored};
use crate::domain::watch::agent::{self, Asked, Before, Broken, Heard, Lease, Notable, State};

choice!(VerdictRow as "agent::Verdict" of agent::Verdict {
    Down, Failed, Overrun, Stalled, Looping, Degraded, Unanswered, Late, Up, Waiting, NeedsInput,
    Leaving, Paused, Blind,
});
record!(State {
    watched_since,
    last,
    heard,
    rhythm,
    report,
    reported_at,
    task,
    progress,
    progress_at,
    repeats,
    lease,
    lease_spent,
    metadata,
    seq,
    skew,
    malformed,
    beats,
    paused,
    not_before,
    pending,
    said,
    said_since,
    deadline,
    broken,
    working_since,
    asked,
});
record!(Asked { at, deaf });
record!(Heard { source, last, steady });
record!(Lease { op, until });
record!(Broken { down, failed, overrun, stalled, unanswered });
record!(Notable<Arc<str>> { at, source, report, busy, advanced, before });
record!(Before<Arc<str>> { last, advanced, over, rhythm });
