//! Downloads, including failures.

use crate::clock::{HANG, at_least, ends};
use crate::fakes::files::{End, Files, Presence, Reply};
use llamero::resource::{Bytes, Digest};
use llamero::systems::downloads::{
    Download, Error, Fetched, Patience, Progress, Recipe, Token, digest_file, fetch, make,
};
use llamero::systems::http::Client;
use llamero::systems::{Hint as _, Retry};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

const PATIENT: Patience =
    Patience { stall: HANG, tries: 3, pause: Duration::from_millis(1), longest_pause: Duration::from_millis(100) };

/// For a server that sends no more.
const STALL: Duration = Duration::from_millis(100);

fn content(seed: u8) -> Vec<u8> {
    (0..3_000_000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8 ^ seed).collect()
}

fn file(end: End) -> Reply {
    Reply::File { content: content(0), etag: "\"one\"", ranges: true, end }
}

fn download(url: &str, folder: &Path) -> Download {
    Download {
        url: url.to_owned(),
        token: None,
        path: folder.join("models/model.gguf"),
        sha256: Some(Digest::of(content(0))),
        keep_free: Bytes(0),
        patience: PATIENT,
    }
}

async fn run(download: &Download) -> Result<Fetched, Error> {
    let client = Client::new().expect("a client");
    fetch(&client, download, &|_| {}, &CancellationToken::new()).await
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join("models")).expect("the folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn two_downloads_of_one_file_fetch_it_once() {
    let folder = crate::folder();
    let files = Files::start([file(End::Whole), file(End::Whole)]).await;
    for declared in [Some(Digest::of(content(0))), None] {
        let download = Download { sha256: declared, ..download(&files.url, folder.path()) };
        let (one, other) = tokio::join!(run(&download), run(&download));
        assert_eq!(one.expect("fetched"), other.expect("found"));
        assert_eq!(names(folder.path()), ["model.gguf"]);
        assert!(std::fs::read(&download.path).expect("the file") == content(0));
        std::fs::remove_file(&download.path).expect("removed");
    }
    assert_eq!(files.presence().len(), 2);
}

#[tokio::test]
async fn a_broken_download_resumes() {
    let folder = crate::folder();
    let files = Files::start([file(End::Cut(1_000_000)), file(End::Cut(500_000)), file(End::Whole)]).await;
    let reported = Mutex::new(vec![]);
    let download = download(&files.url, folder.path());
    let client = Client::new().expect("a client");
    let on_progress = |progress: Progress| reported.lock().expect("no panic").push(progress);
    let fetched = fetch(&client, &download, &on_progress, &CancellationToken::new()).await.expect("it arrives");
    assert_eq!(fetched, Fetched { sha256: Digest::of(content(0)), size: 3_000_000 });
    assert!(std::fs::read(&download.path).expect("the file") == content(0));
    assert_eq!(names(folder.path()), ["model.gguf"]);
    let ranges: Vec<_> = files.presence().into_iter().map(|presence| (presence.range, presence.if_range)).collect();
    let resumed = |from: u32| (Some(format!("bytes={from}-")), Some("\"one\"".to_owned()));
    assert_eq!(ranges, [(None, None), resumed(1_000_000), resumed(1_500_000)]);
    let reported = reported.into_inner().expect("no panic");
    assert!(reported.is_sorted_by_key(|progress| progress.received));
    assert_eq!(reported.last(), Some(&Progress { received: 3_000_000, total: Some(3_000_000) }));
    assert_eq!(download.path.metadata().expect("the file").permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_later_run_resumes_an_interrupted_download() {
    let folder = crate::folder();
    let files = Files::start([file(End::Stall(2_000_000)), file(End::Whole)]).await;
    let download = download(&files.url, folder.path());
    let (client, cancel) = (Client::new().expect("a client"), CancellationToken::new());
    let stop = cancel.clone();
    let on_progress = move |progress: Progress| {
        if progress.received == 2_000_000 {
            stop.cancel();
        }
    };
    assert!(matches!(fetch(&client, &download, &on_progress, &cancel).await, Err(Error::Cancelled)));
    assert_eq!(names(folder.path()), ["model.gguf.part", "model.gguf.part.json"]);
    assert_eq!(run(&download).await.expect("it arrives").sha256, Digest::of(content(0)));
    let start = files.presence()[1].range.clone().and_then(|range| range[6..range.len() - 1].parse::<u64>().ok());
    assert!(start.is_some_and(|start| (900_000..=2_000_000).contains(&start)), "{start:?}");
}

#[tokio::test]
async fn a_complete_part_is_not_fetched_again() {
    let folder = crate::folder();
    let files = Files::start([file(End::Whole)]).await;
    let download = download(&files.url, folder.path());
    run(&download).await.expect("it arrives");
    std::fs::rename(&download.path, folder.path().join("models/model.gguf.part")).expect("a part");
    let record = serde_json::json!({"url": files.url, "version": "\"one\""}).to_string();
    std::fs::write(folder.path().join("models/model.gguf.part.json"), record).expect("a record");
    assert_eq!(run(&download).await.expect("it arrives").size, 3_000_000);
    assert_eq!(files.presence()[1].range.as_deref(), Some("bytes=3000000-"));
    assert_eq!(names(folder.path()), ["model.gguf"]);
}

#[tokio::test]
async fn a_part_from_before_a_reboot_is_resumed_only_with_a_digest() {
    for known in [true, false] {
        let folder = crate::folder();
        let files = Files::start([file(End::Cut(1_000_000)), file(End::Whole)]).await;
        let mut download = download(&files.url, folder.path());
        download.sha256 = download.sha256.filter(|_| known);
        download.patience.tries = 1;
        assert!(run(&download).await.is_err());
        let record = folder.path().join("models/model.gguf.part.json");
        let text = std::fs::read_to_string(&record).expect("a record");
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("a boot");
        assert!(text.contains(boot.trim()), "{text}");
        std::fs::write(&record, text.replace(boot.trim(), "an-earlier-boot")).expect("written");
        assert_eq!(run(&download).await.expect("it arrives").sha256, Digest::of(content(0)));
        assert_eq!(files.presence()[1].range.is_some(), known);
    }
}

#[tokio::test]
async fn a_server_without_ranges_starts_again_from_the_first_byte() {
    let folder = crate::folder();
    let plain = |end| Reply::File { content: content(0), etag: "\"one\"", ranges: false, end };
    let files = Files::start([plain(End::Cut(1_000_000)), plain(End::Whole)]).await;
    assert_eq!(run(&download(&files.url, folder.path())).await.expect("it arrives").size, 3_000_000);
}

#[tokio::test]
async fn a_file_that_changed_meanwhile_is_not_stitched_together() {
    let folder = crate::folder();
    let new = Reply::File { content: content(7), etag: "\"two\"", ranges: true, end: End::Whole };
    let files = Files::start([file(End::Cut(1_000_000)), new]).await;
    let unpinned = Download { sha256: None, ..download(&files.url, folder.path()) };
    assert_eq!(run(&unpinned).await.expect("it arrives").sha256, Digest::of(content(7)));
    assert!(std::fs::read(&unpinned.path).expect("the file") == content(7));
}

#[tokio::test]
async fn attempts_without_progress_are_limited() {
    let folder = crate::folder();
    let plain = Reply::File { content: content(0), etag: "\"one\"", ranges: false, end: End::Cut(1_000_000) };
    let files = Files::start([plain]).await;
    let error = run(&download(&files.url, folder.path())).await.expect_err("it never ends");
    assert!(matches!(error, Error::Network { .. } | Error::Cut { .. }), "{error:?}");
    assert_eq!(files.presence().len(), 3);
}

#[tokio::test]
async fn a_stalled_server_is_given_up_in_time() {
    let folder = crate::folder();
    let files = Files::start([file(End::Stall(1_000_000)), file(End::Stall(0))]).await;
    let mut download = download(&files.url, folder.path());
    download.patience.stall = STALL;
    let error = ends(run(&download)).await.expect_err("it stalls");
    assert!(matches!(error, Error::Stalled { .. }), "{error:?}");
}

#[tokio::test]
async fn a_wrong_digest_is_never_visible_and_the_next_attempt_starts_over() {
    let folder = crate::folder();
    let wrong = Reply::File { content: content(9), etag: "\"one\"", ranges: true, end: End::Whole };
    let files = Files::start([wrong, file(End::Whole)]).await;
    let download = download(&files.url, folder.path());
    let error = run(&download).await.expect_err("it is another file");
    let Error::Checksum { expected, live, .. } = &error else { panic!("{error:?}") };
    assert_eq!((expected, live), (&Digest::of(content(0)), &Digest::of(content(9))));
    assert!(names(folder.path()).is_empty());
    run(&download).await.expect("it arrives");
    assert_eq!(files.presence()[1].range, None);
}

#[tokio::test]
async fn retry_after_is_honoured_within_a_limit() {
    let folder = crate::folder();
    let busy = [Reply::Status(429, Some("3600")), Reply::Status(503, Some("0")), file(End::Whole)];
    let files = Files::start(busy).await;
    let download = download(&files.url, folder.path());
    at_least(PATIENT.longest_pause, run(&download)).await.expect("it arrives");
}

#[tokio::test]
async fn errors_are_classified_by_status() {
    let folder = crate::folder();
    for (status, code) in [(401, "denied"), (403, "denied"), (404, "not found"), (418, "status")] {
        let files = Files::start([Reply::Status(status, None)]).await;
        let error = run(&download(&files.url, folder.path())).await.expect_err("it is refused");
        let reported = match &error {
            Error::Denied { with_token: false, .. } => "denied",
            Error::NotFound { .. } => "not found",
            Error::Status { .. } => "status",
            _ => "other",
        };
        assert_eq!((reported, error.retry(), files.presence().len()), (code, Retry::Never, 1), "{status}");
        assert_eq!(error.hint().is_some_and(|hint| hint.contains("token")), code == "denied");
    }
    let error = run(&download("http://127.0.0.1:9/x", folder.path())).await.expect_err("no listener");
    assert!(matches!(error, Error::Network { .. }), "{error:?}");
}

#[tokio::test]
async fn the_token_stays_with_the_first_host() {
    let folder = crate::folder();
    let cdn = Files::start([file(End::Cut(1_000_000)), file(End::Whole)]).await;
    let hub = Files::start([Reply::Redirect(format!("{}?signature=abc", cdn.url))]).await;
    let token = Some(Token("tok-secret".to_owned()));
    assert!(!format!("{token:?}").contains("secret"));
    run(&Download { token, ..download(&hub.url, folder.path()) }).await.expect("it arrives");
    let bearer =
        |presence: Vec<Presence>| presence.into_iter().map(|presence| presence.authorization).collect::<Vec<_>>();
    assert_eq!(bearer(hub.presence()), vec![Some("Bearer tok-secret".to_owned()); 2]);
    assert_eq!(bearer(cdn.presence()), [None, None]);
    assert_eq!(cdn.presence()[1].range.as_deref(), Some("bytes=1000000-"));
}

#[tokio::test]
async fn redirects_in_a_circle_end() {
    let folder = crate::folder();
    let files = Files::start([Reply::Redirect("/again".to_owned())]).await;
    let error = run(&download(&files.url, folder.path())).await.expect_err("it goes in circles");
    assert_eq!((error.retry(), files.presence().len()), (Retry::Never, 11), "{error:?}");
}

#[tokio::test]
async fn a_file_that_does_not_fit_is_refused_before_the_first_byte() {
    let folder = crate::folder();
    let files = Files::start([file(End::Whole)]).await;
    let full = Download { keep_free: Bytes(u64::MAX), ..download(&files.url, folder.path()) };
    let error = run(&full).await.expect_err("it does not fit");
    assert!(matches!(error, Error::NoSpace { needed: Bytes(3_000_000), free: Bytes(0), .. }), "{error:?}");
    let part = folder.path().join("models/model.gguf.part");
    assert_eq!(part.metadata().expect("the part").len(), 0);
}

#[tokio::test]
async fn a_command_writes_a_file_completely_or_not_at_all() {
    let folder = crate::folder();
    let path = folder.path().join("models/made.gguf");
    let run_within = async |script: &str, sha256: Option<Digest>, within: Duration| {
        let argv = ["/bin/sh", "-c", script].map(str::to_owned);
        let cancel = CancellationToken::new();
        let sha256 = sha256.as_ref();
        make(Recipe { argv: &argv, path: &path, sha256, deadline: within }, &|_| {}, &cancel).await
    };
    let run = async |script: &str, sha256: Option<Digest>| run_within(script, sha256, HANG).await;
    let failed = run("printf half > {path}; echo no luck >&2; exit 4", None).await.expect_err("it fails");
    assert!(failed.to_string().contains("no luck"), "{failed}");
    assert!(matches!(run("true", None).await, Err(Error::NotMade { .. })));
    let hung = run_within("printf half > {path}; sleep 600", None, STALL).await;
    assert!(matches!(hung, Err(Error::Command { .. })));
    assert!(matches!(run("printf abc > {path}", Some(Digest::of("abd"))).await, Err(Error::Checksum { .. })));
    assert!(names(folder.path()).is_empty());
    let made = run("printf abc > {path}", Some(Digest::of("abc"))).await.expect("it is made");
    assert_eq!(made, Fetched { sha256: Digest::of("abc"), size: 3 });
    let digest = digest_file(&path, &|_| {}, &CancellationToken::new()).await.expect("it is read");
    assert_eq!(digest, (Digest::of("abc"), 3));
    assert_eq!(names(folder.path()), ["made.gguf"]);
}

/// Answers every request with a head, and then with pieces of a body until the peer goes away.
async fn raw(head: &'static str, piece: &'static [u8], pause: Duration, pieces: usize) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/model.gguf", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                if stream.write_all(head.as_bytes()).await.is_err() {
                    return;
                }
                for _ in 0..pieces {
                    if stream.write_all(piece).await.is_err() {
                        return;
                    }
                    crate::clock::pause_async(pause).await;
                }
            });
        }
    });
    url
}

#[tokio::test]
async fn a_byte_now_and_then_is_no_progress() {
    let folder = crate::folder();
    let head = "HTTP/1.1 200 OK\r\netag: \"one\"\r\ncontent-length: 1000000\r\n\r\n";
    let url = raw(head, b"x", Duration::from_millis(10), usize::MAX).await;
    let mut download = download(&url, folder.path());
    download.patience = Patience { stall: Duration::from_millis(500), tries: 2, ..PATIENT };
    assert!(matches!(run(&download).await, Err(Error::Stalled { received: 1.., .. })));
}

#[tokio::test]
async fn free_space_is_watched_where_the_server_says_no_length() {
    let folder = crate::folder();
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 16, "x".repeat(1 << 16));
    let url = raw(head, chunk.leak().as_bytes(), Duration::ZERO, usize::MAX).await;
    let mut download = download(&url, folder.path());
    download.keep_free = Bytes(u64::MAX);
    assert!(matches!(run(&download).await, Err(Error::NoSpace { .. })));
    let part = std::fs::metadata(folder.path().join("models/model.gguf.part")).expect("a part");
    assert_eq!(part.len(), 0, "nothing was written");
}

#[tokio::test]
async fn a_body_that_ends_with_its_connection_needs_a_digest() {
    let folder = crate::folder();
    for head in ["HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"] {
        let url = raw(head, b"GGUF", Duration::ZERO, 1).await;
        let mut download = download(&url, folder.path());
        download.sha256 = None;
        let error = run(&download).await.expect_err("its end is not known");
        assert!(matches!(error, Error::NoLength { .. }), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("`sha256`")));
        let client = Client::new().expect("a client");
        let read = llamero::systems::downloads::read(&client, &url, None, &|_| {}, &CancellationToken::new()).await;
        assert!(matches!(read, Err(Error::NoLength { .. })));
        download.sha256 = Some(Digest::of("GGUF"));
        assert_eq!(run(&download).await.expect("the digest proves it").size, 4);
        std::fs::remove_file(&download.path).expect("removed");
    }
}
