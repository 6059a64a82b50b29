//! A hub of models, as far as llamero asks one: what a repository has at its branch, and its files by commit. Files
//! are also served at addresses of their own, `/plain/NAME`, with an `ETag`.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use llamero::resource::Digest;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

#[derive(Default)]
struct Shared {
    /// The commit of `main`, and every file of every commit.
    main: Mutex<String>,
    files: Mutex<BTreeMap<(String, String), Vec<u8>>>,
    asked: Mutex<Vec<String>>,
}

pub(crate) struct Hub {
    pub(crate) url: String,
    shared: Arc<Shared>,
    // The server ends with the runtime that it runs on.
    _runtime: tokio::runtime::Runtime,
}

impl Hub {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let shared = Arc::new(Shared::default());
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = axum::Router::new().fallback(reply).with_state(Arc::clone(&shared));
        runtime.spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { url, shared, _runtime: runtime }
    }

    /// Puts a file on `main`, whose commit is another then; returns the commit.
    pub(crate) fn commit(&self, file: &str, content: &str) -> String {
        let commit = Digest::of(content).as_str()[..40].to_owned();
        self.shared.files.lock().expect("no panic").insert((commit.clone(), file.to_owned()), content.into());
        self.shared.main.lock().expect("no panic").clone_from(&commit);
        commit
    }

    /// Returns the paths that were asked for since the last call.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.asked.lock().expect("no panic"))
    }
}

async fn reply(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let path = request.uri().path().to_owned();
    shared.asked.lock().expect("no panic").push(path.clone());
    let files = shared.files.lock().expect("no panic");
    let main = shared.main.lock().expect("no panic").clone();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let answer = match parts.as_slice() {
        ["api", "models", _, _, "revision", revision] if *revision == "main" || *revision == main => {
            let of_main = files.iter().filter(|((commit, _), _)| *commit == main);
            let siblings = of_main.map(|((_, file), content)| {
                let (size, sha256) = (content.len(), Digest::of(content).to_string());
                json!({"rfilename": file, "size": size, "lfs": {"sha256": sha256, "size": size, "pointerSize": 135}})
            });
            Some((json!({"sha": main, "siblings": siblings.collect::<Vec<_>>()}).to_string().into_bytes(), None))
        }
        [_, _, "resolve", revision, file] => {
            let commit = if *revision == "main" { &main } else { *revision };
            files.get(&(commit.to_owned(), (*file).to_owned())).map(|content| (content.clone(), None))
        }
        ["plain", file] => files.get(&(main.clone(), (*file).to_owned())).map(|content| (content.clone(), Some(main))),
        _ => None,
    };
    let Some((content, version)) = answer else {
        return Response::builder().status(404).body(Body::from("no such thing")).expect("an answer");
    };
    let ranged = request.headers().get("range").is_some_and(|range| range == "bytes=0-0");
    let mut response = Response::builder().status(if ranged { 206 } else { 200 });
    if let Some(version) = version {
        response = response.header("etag", format!("\"{version}\""));
    }
    if ranged {
        response = response.header("content-range", format!("bytes 0-0/{}", content.len()));
        return response.body(Body::from(content[..1].to_vec())).expect("an answer");
    }
    response.body(Body::from(content)).expect("an answer")
}
