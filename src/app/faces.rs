//! Faces: the edges as children of the tree. Listeners are bound once, before the tree; an edge that is
//! started anew takes the same one, so the port is never closed in between.

use std::{net::TcpListener, path::PathBuf, sync::Arc};

use axum::Router;

use crate::{
    actors::{context::Shared, edges::Edge},
    control::Controller,
    domain::{
        id::{Kind, WatchId},
        watch::Condition,
    },
    edges::{
        heartbeat_map,
        http::{
            HttpState,
            server::{self, Room},
        },
        telegram::TelegramEdge,
    },
    ports::{Pending, chain},
};

pub struct Tcp {
    pub listener: TcpListener,
    pub state: HttpState,
    pub api: Router,
}

impl Edge for Tcp {
    fn name(&self) -> &'static str {
        "http"
    }

    fn run(&self) -> Pending<'_, String> {
        Box::pin(async move {
            let listener = self.listener.try_clone().and_then(tokio::net::TcpListener::from_std);
            let listener = match listener {
                Ok(listener) => listener,
                Err(error) => return format!("the listener cannot be taken: {error}"),
            };
            let (state, api) = (self.state.clone(), self.api.clone());
            match server::serve_tcp(listener, state, api, Room::of_network()).await {}
        })
    }
}

pub struct Socket {
    pub path: PathBuf,
    pub group: Option<u32>,
    pub state: HttpState,
    pub api: Router,
}

impl Edge for Socket {
    fn name(&self) -> &'static str {
        "socket"
    }

    fn run(&self) -> Pending<'_, String> {
        Box::pin(async move {
            let listener = match server::bind_unix(&self.path, self.group).await {
                Ok(listener) => listener,
                Err(error) => return chain(&error),
            };
            let (state, api) = (self.state.clone(), self.api.clone());
            match server::serve_unix(listener, state, api, Room::of_machine()).await {}
        })
    }
}

/// A file as a face: `self/heartbeat-map` says whether it can be written.
pub struct MapFile {
    pub path: PathBuf,
    pub controller: Controller,
    pub context: Shared,
}

impl Edge for MapFile {
    fn name(&self) -> &'static str {
        "heartbeat-map"
    }

    fn run(&self) -> Pending<'_, String> {
        Box::pin(async move {
            let watch = WatchId::new(Kind::Myself, self.name());
            let health = |written: Result<(), &str>| {
                let trouble = written.err().map(|why| (Condition::Degraded, why));
                let context = &self.context;
                context.tell(context.board.set(&watch, trouble, context.clock.now()));
            };
            match heartbeat_map::keep(&self.controller, &self.path, health).await {}
        })
    }
}

pub struct Buttons(pub Arc<TelegramEdge>);

impl Edge for Buttons {
    fn name(&self) -> &'static str {
        "telegram"
    }

    fn run(&self) -> Pending<'_, String> {
        Box::pin(async move { self.0.run().await.to_string() })
    }
}
