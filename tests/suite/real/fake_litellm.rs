//! A `LiteLLM` that starts in half a second: its launcher, its server and its unit are the real ones, and only the app
//! is small.

use super::home::Home;
use crate::clock;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

/// An app that answers what the probe asks. An instance whose number is in the file `slow` does not come up and
/// ignores SIGTERM while that file is there.
const APP: &str = r#"
import json, os, pathlib, signal, sys, time, yaml

generation = sys.argv[sys.argv.index("--generation") + 1]
slow = pathlib.Path(__file__).parent / "slow"
while slow.exists() and generation in slow.read_text().split():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    slow.with_name("held-back").touch()
    time.sleep(0.05)

with open(os.environ["CONFIG_FILE_PATH"]) as config:
    models = [{"id": model["model_name"], "object": "model"} for model in yaml.safe_load(config)["model_list"]]


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    answer = {"object": "list", "data": models} if scope["path"].endswith("/models") else {"status": "healthy"}
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})
"#;

/// Where its parts are.
pub(super) struct FakeLitellm {
    package: PathBuf,
    program: PathBuf,
}

impl FakeLitellm {
    pub(super) fn install(home: &Home) -> Self {
        let package = home.path("site/litellm/proxy");
        fs::create_dir_all(&package).expect("a folder");
        for name in ["site/litellm/__init__.py", "site/litellm/proxy/__init__.py"] {
            home.write(name, "");
        }
        home.write("site/litellm/proxy/proxy_server.py", APP);
        fs::create_dir_all(home.path("bin")).expect("a folder");
        // llamero runs the interpreter beside the program; the program itself is never run.
        let python = home.part("litellm/bin/python");
        let site = home.path("site").display().to_string();
        let python = format!("#!/bin/sh\nPYTHONPATH={site} PYTHONDONTWRITEBYTECODE=1 exec {python} \"$@\"\n");
        for (name, text) in [("bin/python", python.as_str()), ("bin/litellm", "#!/bin/false\n")] {
            let path = home.write(name, text);
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("made a program");
        }
        Self { package, program: home.path("bin/litellm") }
    }

    /// Returns the program for the manifest.
    pub(super) fn program(&self) -> String {
        self.program.display().to_string()
    }

    /// Has an instance not come up, or lets all of them come up.
    pub(super) fn hold_back(&self, instance: Option<u64>) {
        let slow = self.package.join("slow");
        match instance {
            Some(number) => fs::write(slow, number.to_string()).expect("written"),
            None => fs::remove_file(slow).unwrap_or_default(),
        }
        fs::remove_file(self.package.join("held-back")).unwrap_or_default();
    }

    /// Waits until the instance that is to be held back has come that far.
    #[track_caller]
    pub(super) fn until_held_back(&self) {
        clock::until("an instance is held back", || self.package.join("held-back").exists());
    }
}
