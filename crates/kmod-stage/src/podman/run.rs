//! Running a container to its end.

use std::fs::File;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pipe::{PipeFlags, pipe_with};

use super::call::{Running, TICK};
use super::container::Container;
use super::tail::Tail;
use super::{Cancel, ContainerRuntime, Finished, ImageSource, Podman, RuntimeError};
use crate::builder::{ContainerSpec, ImageId, LocalImage, create_arguments, start_arguments, state_arguments};

impl ContainerRuntime for Podman {
    fn import(&self, source: &ImageSource, cancel: &Cancel) -> Result<ImageId, RuntimeError> {
        self.import_image(source, cancel)
    }

    fn find(&self, name: &LocalImage) -> Result<Option<ImageId>, RuntimeError> {
        self.image_id(&name.to_string())
    }

    fn run<'a>(
        &'a self,
        spec: &ContainerSpec,
        log: &mut dyn Write,
        cancel: &Cancel,
    ) -> Result<Box<dyn Finished + 'a>, RuntimeError> {
        let mut container = self.create(spec, cancel)?;
        let mut tail = Tail::default();
        let ended = self.attach(spec, &mut Output { log, tail: &mut tail }, cancel);
        if let Err(error) = ended {
            // The attached podman is gone; the container is not. That it cannot be ended is the worse news.
            container.remove_now()?;
            return Err(match error {
                RuntimeError::TimedOut { limit, .. } => RuntimeError::TimedOut { limit, tail: tail.lines() },
                other => other,
            });
        }
        match self.state(spec, &tail)? {
            State { code: 0, .. } => Ok(Box::new(container)),
            State { code, out_of_memory } => Err(RuntimeError::Exit { code, out_of_memory, tail: tail.lines() }),
        }
    }

    fn remove(&self, name: &LocalImage) -> Result<(), RuntimeError> {
        self.remove_image(name)
    }
}

/// How a container ended.
struct State {
    code: i32,
    out_of_memory: bool,
}

/// Where the output goes.
struct Output<'a> {
    log: &'a mut dyn Write,
    tail: &'a mut Tail,
}

impl Podman {
    fn create(&self, spec: &ContainerSpec, cancel: &Cancel) -> Result<Container<'_>, RuntimeError> {
        let call = self.plain(create_arguments(&self.settings, spec)).until(cancel);
        match call.output() {
            Ok(_) => Ok(Container::new(self, spec, cancel)),
            // A call that was cut short may have made it; any other error left nothing, or found another's container of
            // that name, which must stay.
            Err(error @ RuntimeError::Cancelled) => {
                drop(Container::new(self, spec, cancel));
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Starts the container and passes on its output until its end.
    fn attach(&self, spec: &ContainerSpec, output: &mut Output<'_>, cancel: &Cancel) -> Result<(), RuntimeError> {
        let call = self.plain(start_arguments(&self.settings, &spec.name));
        let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| call.broken(errno.into()))?;
        fcntl_getfl(&ours)
            .and_then(|flags| fcntl_setfl(&ours, flags | OFlags::NONBLOCK))
            .map_err(|errno| call.broken(errno.into()))?;
        let mut pipe = Some(File::from(ours));
        let mut running = call.start_joined(theirs)?;
        let begin = Instant::now();
        loop {
            let ended = running.ended()?.is_some();
            output.pass(&mut pipe, &running)?;
            if ended {
                return Ok(());
            }
            if cancel.is_cancelled() {
                return Err(RuntimeError::Cancelled);
            }
            if begin.elapsed() > spec.timeout {
                return Err(RuntimeError::TimedOut { limit: spec.timeout, tail: Vec::new() });
            }
            wait(pipe.as_ref(), TICK).map_err(|source| running.call().broken(source))?;
        }
    }

    /// How the container ended. podman's own exit code does not tell its failures from those of the container.
    fn state(&self, spec: &ContainerSpec, tail: &Tail) -> Result<State, RuntimeError> {
        let call = self.plain(state_arguments(&self.settings, &spec.name));
        let answer = call.output()?;
        let words: Vec<&str> = answer.split_whitespace().collect();
        match words[..] {
            ["exited" | "stopped", code, memory] => {
                Ok(State { code: call.parse(code)?, out_of_memory: memory == "true" })
            }
            // It never ran, so all output is podman's.
            ["created" | "configured" | "initialized", ..] => {
                let start = self.plain(start_arguments(&self.settings, &spec.name));
                Err(start.failed(&tail.lines().join("\n")))
            }
            _ => Err(call.misunderstood(&answer)),
        }
    }
}

impl Output<'_> {
    /// Passes on what is there, without waiting for more.
    fn pass(&mut self, pipe: &mut Option<File>, running: &Running<'_>) -> Result<(), RuntimeError> {
        /// A full pipe and more; a container that never stops writing must not hold us here.
        const ROUNDS: usize = 64;
        let mut buffer = [0; 8192];
        for _ in 0..ROUNDS {
            let Some(open) = pipe else { return Ok(()) };
            match open.read(&mut buffer) {
                Ok(0) => *pipe = None,
                Ok(read) => {
                    let bytes = buffer.get(..read).unwrap_or_default();
                    self.tail.add(bytes);
                    self.log.write_all(bytes).map_err(RuntimeError::Log)?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(running.call().broken(error)),
            }
        }
        Ok(())
    }
}

/// Waits up to `time` for output.
fn wait(pipe: Option<&File>, time: Duration) -> io::Result<()> {
    let Some(pipe) = pipe else {
        std::thread::sleep(time);
        return Ok(());
    };
    let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(time.subsec_nanos()) };
    match poll(&mut [PollFd::new(pipe, PollFlags::IN)], Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
