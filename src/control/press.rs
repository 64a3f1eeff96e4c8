//! Press: what a button under a message does. The button carries a delivery and an index, nothing else;
//! the stored row says what was offered, so nothing in it is trusted.

use jiff::{Timestamp, tz::TimeZone};

use super::{Class, Controller, Refusal, incidents::IncidentView, words};
use crate::domain::{
    delivery::{Body, Button, Delivery},
    desk::Ask,
    id::{DeliveryId, IncidentId},
    incident::Incident,
    silence::Target,
    text::Text,
};

/// A notice over the chat is cut to so many characters (Telegram's limit for callback answers).
pub const NOTICE_MAX: usize = 200;

/// A reply is cut to so many characters; Telegram takes 4096.
const REPLY_MAX: usize = 3500;

/// What the person who pressed reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PressReply {
    /// Shown at once, over the chat; [`NOTICE_MAX`] characters at most.
    pub notice: String,
    /// Plain text to send as a reply that makes no sound.
    pub reply: Option<String>,
    /// The buttons can no longer work: they go.
    pub clears_buttons: bool,
}

impl PressReply {
    fn notice(text: impl AsRef<str>) -> Self {
        let notice = Text::clean(text.as_ref(), NOTICE_MAX).as_str().to_owned();
        Self { notice, reply: None, clears_buttons: false }
    }

    fn with_reply(text: impl AsRef<str>, reply: String) -> Self {
        Self { reply: Some(reply), ..Self::notice(text) }
    }
}

/// The button that was offered at `index` of the row's message, if one was.
pub fn offered(row: &Delivery, index: usize) -> Option<Button> {
    match &row.body {
        Body::New { message, .. } | Body::Edit { message } => message.buttons.get(index).copied(),
        Body::Event(_) => None,
    }
}

/// `Over since 03:41`, when nothing of it is open any more.
pub fn over(incidents: &[Incident], zone: &TimeZone, now: Timestamp) -> Option<String> {
    let ends: Option<Vec<Timestamp>> =
        incidents.iter().map(|it| it.resolved.as_ref().map(|(at, _)| *at)).collect();
    let last = ends?.into_iter().max()?;
    Some(format!("Over since {}", words::minute(last, zone, now)))
}

/// One line for each incident, 3500 characters at most.
pub fn list(incidents: &[Incident], zone: &TimeZone, now: Timestamp) -> String {
    let mut text = String::new();
    for (place, incident) in incidents.iter().enumerate() {
        let view = IncidentView::of(incident);
        let state = match view.resolved_at {
            Some(at) => format!("over since {}", words::minute(at, zone, now)),
            None => format!("since {}", words::clock(view.opened_at, zone, now)),
        };
        let line = format!("#{} {} {} {state}\n", view.id, view.name, view.condition);
        if REPLY_MAX < text.chars().count() + line.chars().count() + 20 {
            return format!("{text}and {} more", incidents.len() - place);
        }
        text.push_str(&line);
    }
    text.trim_end().to_owned()
}

impl Controller {
    /// Does what the button at `index` under the message of `delivery` says, for `by`, whom the edge has
    /// found to be allowed.
    ///
    /// # Errors
    /// Why nothing was done, in a sentence for the person who pressed.
    pub async fn press(
        &self,
        delivery: DeliveryId,
        index: usize,
        by: Text,
    ) -> Result<PressReply, String> {
        self.pressed(delivery, index, by).await.map_err(|refusal| match refusal.class {
            Class::Unavailable => format!("{refusal}; press again in a moment"),
            Class::Refused | Class::WrongUse | Class::Unknown | Class::NotPermitted => refusal.text,
        })
    }

    async fn pressed(&self, id: DeliveryId, index: usize, by: Text) -> Result<PressReply, Refusal> {
        let row = self.tower.store().delivery(id).await?;
        let row = row.ok_or_else(|| Refusal::unknown("That message is too old to act on"))?;
        let settings = (self.settings)();
        let receiver = settings.receivers.iter().find(|it| it.id == row.receiver && it.human);
        let button = receiver.and_then(|_| offered(&row, index));
        let button = button.ok_or_else(|| Refusal::unknown("There is no such button"))?;
        let incidents = self.incidents_of(&row).await?;
        let (zone, now) = (&settings.timezone, self.tower.now());
        let open: Vec<&Incident> = incidents.iter().filter(|it| it.resolved.is_none()).collect();
        if acts_on_open(button)
            && let Some(over) = over(&incidents, zone, now)
        {
            return Ok(PressReply { clears_buttons: true, ..PressReply::notice(over) });
        }
        let ids: Vec<IncidentId> = open.iter().map(|it| it.id).collect();
        match button {
            Button::Acknowledge(_) => {
                let until = now.saturating_add(settings.acknowledge_for).unwrap_or(now);
                self.ask(Ask::Acknowledge { incidents: ids, for_: None, by, reason: None }).await?;
                Ok(PressReply::notice(format!("Yours until {}", words::minute(until, zone, now))))
            }
            Button::Release => {
                self.ask(Ask::Release { incidents: ids, by }).await?;
                Ok(PressReply::notice("Released: it repeats and escalates again"))
            }
            Button::SilenceOneHour => self.silence_one_hour(&open, by).await,
            Button::Why => self.press_why(&incidents, zone, now).await,
            Button::List => Ok(PressReply::with_reply(
                words::counted(incidents.len(), "incident"),
                list(&incidents, zone, now),
            )),
            Button::Forget => self.press_forget(&incidents, by).await,
            Button::GotIt => self.got_it(&open, by).await,
        }
    }

    async fn incidents_of(&self, row: &Delivery) -> Result<Vec<Incident>, Refusal> {
        let mut incidents = Vec::new();
        for id in &row.incidents {
            incidents.extend(self.incident(*id).await?);
        }
        Ok(incidents)
    }

    async fn silence_one_hour(&self, open: &[&Incident], by: Text) -> Result<PressReply, Refusal> {
        let mut targets: Vec<Target> = Vec::new();
        for incident in open {
            let target = Target::Watch(incident.watch.clone());
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
        let for_ = jiff::SignedDuration::from_hours(1);
        let (now, zone) = (self.tower.now(), (self.settings)().timezone.clone());
        let until = now.saturating_add(for_).unwrap_or(now);
        self.ask(Ask::Silence { targets, for_, by, reason: None }).await?;
        let until = words::minute(until, &zone, now);
        Ok(PressReply::notice(format!("Silent until {until}; recovery is told")))
    }

    async fn press_why(
        &self,
        incidents: &[Incident],
        zone: &TimeZone,
        now: Timestamp,
    ) -> Result<PressReply, Refusal> {
        let Some(first) = incidents.first() else {
            return Err(Refusal::unknown("Nothing is known of it any more"));
        };
        let why = self.why_incident(first).await?.plain(zone, now, REPLY_MAX);
        let notice = match incidents.len() {
            1 => format!("Why {}", first.subject.name),
            many => format!("Why {}, the first of {many}", first.subject.name),
        };
        Ok(PressReply::with_reply(notice, why))
    }

    async fn press_forget(&self, incidents: &[Incident], by: Text) -> Result<PressReply, Refusal> {
        let mut forgotten = Vec::new();
        for incident in incidents.iter().filter(|it| it.subject.self_registered) {
            match self.tower.forget(incident.watch.clone(), by.clone()).await? {
                Ok(_) => forgotten.push(incident.subject.name.as_str()),
                Err(why) => return Err(Refusal::refused(why)),
            }
        }
        match forgotten.as_slice() {
            [] => Err(Refusal::refused("The registry declares it: take it out there")),
            names => Ok(PressReply::notice(format!("Forgotten: {}", names.join(", ")))),
        }
    }

    /// The button of a test message came back: the test is over.
    async fn got_it(&self, open: &[&Incident], by: Text) -> Result<PressReply, Refusal> {
        for incident in open {
            let by = by.clone();
            self.ask(Ask::Resolve { incident: incident.id, by, reason: None, says: None }).await?;
        }
        Ok(PressReply::notice("The button came back: this way works in both directions"))
    }
}

fn acts_on_open(button: Button) -> bool {
    match button {
        Button::Acknowledge(_) | Button::Release | Button::SilenceOneHour => true,
        Button::Why | Button::List | Button::Forget | Button::GotIt => false,
    }
}
