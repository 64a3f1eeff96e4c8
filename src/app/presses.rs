//! Presses: what a pressed button asks is put before control; where the bot stood is kept in the store.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::{
    actors::{
        context::{Shared, lock},
        recorder,
    },
    control::Controller,
    domain::{
        id::{Kind, WatchId},
        watch::Condition,
        write::Write,
    },
    edges::telegram::{Health, Press, PressAnswer, Presses},
    ports::store::Commit,
};

/// Under this name the store keeps the bot's offset.
const OFFSET: &str = "telegram_offset";
const WRITER: &str = "telegram";

pub struct Desk {
    pub controller: Controller,
    pub context: Shared,
    incarnation: u64,
    sequence: std::sync::Mutex<u64>,
}

impl Desk {
    pub fn new(controller: Controller, context: Shared) -> Self {
        let incarnation = context.next_incarnation();
        Self { controller, context, incarnation, sequence: std::sync::Mutex::default() }
    }
}

impl Presses for Desk {
    fn is_linked(&self, chat: i64) -> bool {
        self.context.receivers().iter().any(|it| it.chat == Some(chat))
    }

    fn press(&self, press: Press) -> BoxFuture<'_, PressAnswer> {
        Box::pin(async move {
            let by = press.user_name;
            match self.controller.press(press.delivery, press.index, by).await {
                Ok(reply) => PressAnswer {
                    toast: reply.notice,
                    reply: reply.reply,
                    clears_buttons: reply.clears_buttons,
                },
                Err(why) => PressAnswer { toast: why, ..PressAnswer::default() },
            }
        })
    }

    fn load_offset(&self) -> BoxFuture<'_, Option<i32>> {
        Box::pin(async move {
            let kept = self.context.store.meta(OFFSET).await.ok().flatten();
            kept.and_then(|it| it.parse().ok())
        })
    }

    fn save_offset(&self, offset: i32) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let sequence = {
                let mut sequence = lock(&self.sequence);
                *sequence += 1;
                *sequence
            };
            let commit = Commit {
                writer: WRITER,
                incarnation: self.incarnation,
                sequence,
                writes: vec![Write::Meta { key: OFFSET.to_owned(), value: offset.to_string() }],
            };
            // Lost, it means that a press comes again after a crash, which it bears.
            let _ = recorder::commit(Arc::clone(&self.context), commit).await;
        })
    }

    fn health(&self, health: Health) {
        let watch = WatchId::new(Kind::Myself, "telegram");
        let trouble = match &health {
            Health::Listening => None,
            Health::Conflict { why } | Health::Failing { why } => {
                tracing::warn!(%why, "buttons are not heard");
                Some((Condition::Degraded, why.as_str()))
            }
        };
        let now = self.context.clock.now();
        self.context.tell(self.context.board.set(&watch, trouble, now));
    }
}
