//! Connections and routes; start and stop.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use axum::routing::{get, post};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::memory::show_bytes;
use crate::opened::Opened;
use crate::serve::desk::{Desk, Load};
use crate::serve::error::{ApiError, ApiResult, json_response};
use crate::serve::fields::Fields;
use crate::serve::job::Job;
use crate::serve::reply::{Asked, Format, respond, unix_seconds};
use crate::serve::{Limits, chat, completions, tokens, worker};
use crate::stop::Stop;
use crate::{Error, Result};

/// Connections at a time.
const CONNECTIONS: usize = 512;
/// Time for a request's head, for its body, and between two requests of a connection.
const RECEIVE: Duration = Duration::from_secs(60);
/// How often somebody looks whether to stop.
const LOOK: Duration = Duration::from_millis(50);

/// What the handlers share.
#[derive(Debug)]
pub struct App {
    /// The model and what stands beside it.
    pub opened: Arc<Opened>,
    /// Where jobs are handed in.
    pub desk: Desk,
    /// What is granted.
    pub limits: Limits,
    /// The model's name.
    pub name: String,
    started: u64,
}

/// Opens the port; port 0 is one that is free.
///
/// # Errors
/// When the address is none of this machine, or the port is taken.
pub fn bind(host: &str, port: u16) -> Result<TcpListener> {
    let failed = |e: std::io::Error| Error::Usage(format!("cannot listen on {host}:{port}: {e}"));
    let listener = TcpListener::bind((host, port)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// Answers requests until `stop` is raised; what runs then has `limits.grace` to end.
///
/// # Errors
/// When the system refuses threads, or the engine cannot start.
pub fn serve(
    listener: TcpListener,
    opened: Opened,
    name: &str,
    threads: usize,
    limits: &Limits,
    stop: &Stop,
) -> Result<()> {
    let system = |e: std::io::Error| Error::Unfinished(format!("cannot serve: {e}"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(system)?;
    let (sender, jobs) = mpsc::channel();
    let load = Arc::new(Load::default());
    let app = App {
        opened: Arc::new(opened),
        desk: Desk::new(sender, load.clone(), limits.queue),
        limits: limits.clone(),
        name: name.to_owned(),
        started: unix_seconds(),
    };
    let engine = {
        let (opened, limits, load) = (app.opened.clone(), limits.clone(), load.clone());
        let work = move || worker::work(&opened, threads, &limits, &load, &jobs);
        let builder = std::thread::Builder::new().name("engine".to_owned());
        builder.spawn(work).map_err(system)?
    };
    let served = runtime.block_on(accept(listener, router(app), stop, &load, limits.grace));
    // The last desk goes with the runtime, and the engine's thread ends.
    load.stopping.store(true, SeqCst);
    drop(runtime);
    match engine.join() {
        Ok(worked) => worked?,
        Err(_) => return Err(Error::Unfinished("the engine's thread has died".to_owned())),
    }
    served.map_err(system)
}

async fn accept(
    listener: TcpListener,
    router: Router,
    stop: &Stop,
    load: &Load,
    grace: Duration,
) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let open = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    while stop.check().is_ok() {
        let stream = match timeout(LOOK, listener.accept()).await {
            Ok(Ok((stream, _))) => stream,
            Ok(Err(_)) => {
                // No file is left to open, or a client went at once.
                sleep(LOOK).await;
                continue;
            }
            Err(_) => continue,
        };
        let Ok(place) = open.clone().try_acquire_owned() else {
            continue;
        };
        // Pieces of a stream are small, and each is waited for.
        let _ = stream.set_nodelay(true);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(RECEIVE)
            .serve_connection(
                TokioIo::new(stream),
                TowerToHyperService::new(router.clone()),
            );
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // A client that breaks off is no error of ours.
            let _ = connection.await;
            drop(place);
        });
    }
    drop((listener, router));
    let ended = std::pin::pin!(graceful.shutdown());
    if let Err(late) = timeout(grace, ended).await {
        tracing::debug!("answers under way are ended: {late}");
        load.stopping.store(true, SeqCst);
        // Time for the engine to say so, and for that to be sent.
        sleep(4 * LOOK).await;
    }
    Ok(())
}

fn router(app: App) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/v1/models", get(models))
        .route("/v1/models/{*name}", get(model))
        .route("/v1/completions", post(complete))
        .route("/v1/chat/completions", post(converse))
        .route("/tokenize", post(tokenize))
        .route("/detokenize", post(detokenize))
        .fallback(nothing_here)
        .method_not_allowed_fallback(nothing_here)
        .with_state(Arc::new(app))
}

type Shared = State<Arc<App>>;

async fn health(State(app): Shared) -> Response {
    let load = &app.desk.load;
    json_response(&json!({
        "status": "ok",
        "waiting": load.waiting.load(SeqCst),
        "running": load.running.load(SeqCst),
        "kept_prefixes": load.kept.load(SeqCst),
        "tokens_evaluated": load.tokens.load(SeqCst),
    }))
}

async fn models(State(app): Shared) -> Response {
    json_response(&json!({"object": "list", "data": [app.card()]}))
}

async fn model(State(app): Shared, Path(name): Path<String>) -> ApiResult<Response> {
    if name != app.name {
        return Err(ApiError::model(&name, &app.name));
    }
    Ok(json_response(&app.card()))
}

async fn complete(State(app): Shared, body: Body) -> ApiResult<Response> {
    answer(app, body, completions::read).await
}

async fn converse(State(app): Shared, body: Body) -> ApiResult<Response> {
    answer(app, body, chat::read).await
}

async fn tokenize(State(app): Shared, body: Body) -> ApiResult<Response> {
    let reply = with_body(app, body, tokens::tokenize).await?;
    Ok(json_response(&reply))
}

async fn detokenize(State(app): Shared, body: Body) -> ApiResult<Response> {
    let reply = with_body(app, body, tokens::detokenize).await?;
    Ok(json_response(&reply))
}

async fn nothing_here(method: Method, uri: Uri) -> ApiError {
    let message = format!("Unknown request URL: {method} {}", uri.path());
    ApiError::new(StatusCode::NOT_FOUND, message)
}

async fn answer<F: Format>(
    app: Arc<App>,
    body: Body,
    read: fn(&App, &[u8]) -> ApiResult<Asked<F>>,
) -> ApiResult<Response> {
    let asked = with_body(app.clone(), body, read).await?;
    respond(&app, asked).await
}

/// Receives a body and reads it on a thread of its own: texts may be long, and templates slow.
async fn with_body<T: Send + 'static>(
    app: Arc<App>,
    body: Body,
    read: fn(&App, &[u8]) -> ApiResult<T>,
) -> ApiResult<T> {
    let limit = app.limits.body;
    let received = timeout(RECEIVE, to_bytes(body, limit)).await;
    let received = received.map_err(|_| {
        ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "the body did not arrive in time",
        )
    })?;
    let bytes = received.map_err(|_| {
        let message = format!(
            "the body is cut off, or longer than {}",
            show_bytes(limit as u64)
        );
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    })?;
    let work = tokio::task::spawn_blocking(move || read(&app, &bytes));
    work.await.unwrap_or_else(|_| {
        Err(ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the request could not be read",
        ))
    })
}

impl App {
    fn card(&self) -> Value {
        json!({
            "id": self.name,
            "object": "model",
            "created": self.started,
            "owned_by": "fathom",
            "max_model_len": self.limits.context,
        })
    }

    /// A request may name the model, and no other.
    ///
    /// # Errors
    /// When it names another.
    pub fn check_model(&self, fields: &mut Fields) -> ApiResult<()> {
        match fields.string("model")? {
            Some(name) if name != self.name => Err(ApiError::model(&name, &self.name)),
            _ => Ok(()),
        }
    }

    /// Ids of a text, BOS first where the model wants one and `add_bos` says so; nothing in it is special.
    ///
    /// # Errors
    /// When the tokenizer fails.
    pub fn encode(&self, name: &str, text: &str, add_bos: bool) -> ApiResult<Vec<u32>> {
        let ids = if add_bos {
            self.opened.raw(text)
        } else {
            self.opened.tokenizer.encode(text).map_err(Error::from)
        };
        ids.map_err(|e| ApiError::field(name, e, "text that the tokenizer encodes"))
    }

    /// Checks that a job fits the context, the vocabulary and the memory.
    ///
    /// # Errors
    /// What does not fit.
    pub fn check_job(&self, param: &str, job: &Job) -> ApiResult<()> {
        let answer = job.answers.iter().map(|a| a.max_tokens).max().unwrap_or(0);
        let (context, n_vocab) = (self.limits.context, self.opened.model.spec.n_vocab);
        if job.ids.len().saturating_add(answer) > context {
            return Err(ApiError::context(param, context, job.ids.len(), answer));
        }
        if let Some(id) = job.ids.iter().find(|id| **id as usize >= n_vocab) {
            let expected = format!("ids below {n_vocab}, which the model has");
            return Err(ApiError::field(param, format!("token {id}"), expected));
        }
        // Prompts are read in pieces, and a piece has the frequencies of the text so far.
        let spec = &self.opened.model.spec;
        if job.score_prompt && !spec.same_frequencies(1, job.ids.len()) {
            let found = format!(
                "a prompt of {} tokens with log probabilities",
                job.ids.len()
            );
            let expected = "a shorter one: this model's rotary frequencies change before its end";
            return Err(ApiError::field("echo", found, expected));
        }
        let needed = worker::bytes(&self.opened, job);
        if needed > self.limits.memory {
            let found = format!("{} of keys and values", show_bytes(needed));
            let expected = format!("at most {}", show_bytes(self.limits.memory));
            return Err(ApiError::field(param, found, expected));
        }
        Ok(())
    }
}
