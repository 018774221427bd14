//! Answering requests.

use std::io::{self, BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::http::{Answer, Asked, read_body, read_head, write_head};
use super::state::State;
use super::{Act, AuthSettings, Shared, lock};

/// Serves one connection until either side has enough.
pub(super) fn connection(stream: &TcpStream, shared: &Shared, end: &AtomicBool) {
    // What fails here the client notices.
    let _ = serve(stream, shared, end);
    let _ = stream.shutdown(std::net::Shutdown::Both);
}

fn serve(stream: &TcpStream, shared: &Shared, end: &AtomicBool) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.set_nodelay(true)?;
    let (mut reader, mut out) = (BufReader::with_capacity(256 << 10, stream), stream);
    while let Some(mut asked) = read_head(&mut reader)? {
        if end.load(Ordering::Relaxed) {
            return Ok(());
        }
        {
            let mut log = lock(&shared.log);
            asked.before = log.iter().filter(|one| (&one.method, &one.path) == (&asked.method, &asked.path)).count();
            log.push(asked.clone());
        }
        let act = shared.settings.script.as_ref().map_or(Act::Serve, |script| script(&asked));
        if let Act::Reset(limit) = act {
            read_body(&asked, &mut reader, Some(limit))?;
            return Ok(());
        }
        if asked.header("expect") == Some("100-continue") {
            out.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let body = read_body(&asked, &mut reader, None)?;
        let mut answer = match &act {
            Act::Answer(status, headers, body) => {
                Answer { status: *status, headers: headers.clone(), body: body.clone() }
            }
            _ => answer(&asked, body, shared),
        };
        match &act {
            Act::Swallow => return Ok(()),
            Act::Without(name) => answer.headers.retain(|(known, _)| known != name),
            Act::With(name, value) => {
                answer.headers.retain(|(known, _)| known != name);
                answer.headers.push(((*name).to_owned(), value.clone()));
            }
            _ => {}
        }
        write_head(&mut out, &answer)?;
        let body = if asked.method == "HEAD" { &[][..] } else { &answer.body };
        match act {
            Act::Cut(limit) => {
                out.write_all(&body[..limit.min(body.len())])?;
                return Ok(());
            }
            Act::Drip(piece, pause) => {
                for piece in body.chunks(piece.max(1)) {
                    std::thread::sleep(pause);
                    out.write_all(piece)?;
                }
            }
            _ => out.write_all(body)?,
        }
    }
    Ok(())
}

fn answer(asked: &Asked, body: Vec<u8>, shared: &Shared) -> Answer {
    let mut state = lock(&shared.state);
    if asked.path == "/token" {
        return token(asked, &mut state, &shared.settings.auth);
    }
    let Some(rest) = asked.path.strip_prefix("/v2/") else { return Answer::new(404) };
    if let Some(refusal) = refused(asked, &mut state, shared) {
        return refusal;
    }
    if rest.is_empty() {
        return Answer::new(200);
    }
    state.serve(asked, rest, body, &shared.settings)
}

/// The answer to whoever may not do what it asks for.
fn refused(asked: &Asked, state: &mut State, shared: &Shared) -> Option<Answer> {
    let given = asked.header("authorization").unwrap_or_default();
    match &shared.settings.auth {
        AuthSettings::Open => None,
        AuthSettings::Basic(name, password) => {
            let refusal = || Answer::error(401, "UNAUTHORIZED").with("www-authenticate", "Basic realm=\"test\"");
            (given != basic(name, password)).then(refusal)
        }
        AuthSettings::Bearer { realm, .. } => {
            let writes = !matches!(asked.method.as_str(), "GET" | "HEAD");
            let spent = given.strip_prefix("Bearer ").is_none_or(|token| !state.spend(token, asked, writes));
            let realm = realm.clone().unwrap_or_else(|| format!("http://{}/token", shared.host));
            let challenge = format!("Bearer realm=\"{realm}\",service=\"test\",scope=\"x\"");
            spent.then(|| Answer::error(401, "UNAUTHORIZED").with("www-authenticate", challenge))
        }
    }
}

fn token(asked: &Asked, state: &mut State, auth: &AuthSettings) -> Answer {
    let AuthSettings::Bearer { name, password, uses, .. } = auth else { return Answer::new(404) };
    let scope = asked.query.get("scope").cloned().unwrap_or_default();
    match asked.header("authorization") {
        Some(given) if given != basic(name, password) => Answer::error(401, "UNAUTHORIZED"),
        given => {
            // Who is nobody may read.
            let scope = if given.is_some() { scope } else { scope.replace(",push", "") };
            let token = state.issue(scope, *uses);
            Answer::new(200).body("application/json", format!(r#"{{"token":"{token}","expires_in":300}}"#))
        }
    }
}

/// `Basic` with base64 (RFC 4648) written out: this must judge the client, not share its code.
fn basic(name: &str, password: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = "Basic ".to_owned();
    for three in format!("{name}:{password}").as_bytes().chunks(3) {
        let number = three.iter().chain([0, 0].iter()).take(3).fold(0, |number, byte| number << 8 | usize::from(*byte));
        for digit in 0..4 {
            let shown = digit <= three.len();
            text.push(if shown { char::from(DIGITS[number >> (18 - 6 * digit) & 63]) } else { '=' });
        }
    }
    text
}
