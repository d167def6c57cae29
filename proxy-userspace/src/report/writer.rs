//! Writes reports to a file, without ever making a connection wait for the disk.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::{ConnectionReport, ReportFile};

/// Lines that may wait for the disk; a line that finds no place is lost and counted.
pub const QUEUE_LINES: usize = 16_384;
/// Bytes that are gathered into one write, while more lines are waiting.
const BATCH_BYTES: usize = 64 * 1024;

/// Why reports cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The file could not be made.
    #[error("cannot write the report to {}", path.display())]
    Create {
        /// The file that was asked for.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The thread that writes could not be started.
    #[error("cannot start the thread that writes the report")]
    Thread {
        /// The kernel's answer.
        source: io::Error,
    },
}

/// What became of the reports.
#[derive(Debug)]
pub struct Finished {
    /// Reports that are in the file.
    pub written: u64,
    /// Reports that are not: the queue was full, or the disk refused them.
    pub lost: u64,
    /// The first failed write.
    pub error: Option<io::Error>,
}

/// Appends one line of JSON for each report, from a thread of its own.
///
/// Every write(2) holds whole lines. Shared by reference: `&self` everywhere.
#[derive(Debug)]
pub struct ReportWriter {
    queue: SyncSender<Message>,
    lost: Arc<AtomicU64>,
    thread: Mutex<Option<JoinHandle<Written>>>,
}

/// What the thread is told.
#[derive(Debug)]
enum Message {
    /// JSON and a line end.
    Line(Vec<u8>),
    /// Nothing comes after this.
    Finish,
}

/// What the thread did.
#[derive(Debug, Default)]
struct Written {
    lines: u64,
    error: Option<io::Error>,
}

impl ReportWriter {
    /// Begins a report. An old one in the file goes, unless somebody else writes there too.
    ///
    /// # Errors
    /// When the file cannot be emptied, or the thread cannot be started.
    pub fn start(file: ReportFile) -> Result<Self, ReportError> {
        let (file, is_own) = file.begin()?;
        Self::write_to(file, is_own)
    }

    fn write_to(file: File, is_own: bool) -> Result<Self, ReportError> {
        let (queue, lines) = sync_channel(QUEUE_LINES);
        let lost = Arc::new(AtomicU64::new(0));
        let sink = Sink {
            file,
            is_own,
            written_bytes: 0,
            batch: Vec::new(),
            batch_lines: 0,
            lost: Arc::clone(&lost),
        };
        let thread = thread::Builder::new()
            .name("report".into())
            .spawn(move || sink.run(&lines))
            .map_err(|source| ReportError::Thread { source })?;
        Ok(Self { queue, lost, thread: Mutex::new(Some(thread)) })
    }

    /// Queues a report. Never waits: where the queue is full the report is lost, and counted.
    pub fn write(&self, report: &ConnectionReport) {
        let queued = serde_json::to_vec(report).is_ok_and(|mut line| {
            line.push(b'\n');
            self.queue.try_send(Message::Line(line)).is_ok()
        });
        if !queued {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Reports that were lost so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits until everything that was queued is in the file. Reports that come later are lost.
    /// Waits for ever where the file is a pipe that nobody reads.
    ///
    /// To be called once; a second call finds nothing written.
    pub fn finish(&self) -> Finished {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let written = thread.map_or_else(Written::default, |thread| {
            // Where the thread is gone there is nobody to tell.
            self.queue.send(Message::Finish).ok();
            thread.join().unwrap_or_default()
        });
        Finished { written: written.lines, lost: self.lost(), error: written.error }
    }
}

/// The thread's side.
#[derive(Debug)]
struct Sink {
    file: File,
    /// Whether nobody else writes to it.
    is_own: bool,
    /// Bytes of whole lines that are in the file.
    written_bytes: u64,
    batch: Vec<u8>,
    batch_lines: u64,
    lost: Arc<AtomicU64>,
}

impl Sink {
    /// Writes until there is nothing more to come.
    fn run(mut self, lines: &Receiver<Message>) -> Written {
        let mut written = Written::default();
        loop {
            // Gather what is there; write when nothing more is, so that a reader sees it at once.
            let message = match lines.try_recv() {
                Ok(message) => Some(message),
                Err(TryRecvError::Empty) => {
                    self.flush(&mut written);
                    lines.recv().ok()
                }
                Err(TryRecvError::Disconnected) => None,
            };
            match message {
                Some(Message::Line(line)) => {
                    self.batch.extend_from_slice(&line);
                    self.batch_lines += 1;
                    if self.batch.len() >= BATCH_BYTES {
                        self.flush(&mut written);
                    }
                }
                Some(Message::Finish) | None => {
                    self.flush(&mut written);
                    return written;
                }
            }
        }
    }

    /// Writes the batch; on an error its lines are lost, as a whole.
    fn flush(&mut self, written: &mut Written) {
        if self.batch.is_empty() {
            return;
        }
        match self.file.write_all(&self.batch) {
            Ok(()) => {
                written.lines += self.batch_lines;
                self.written_bytes += self.batch.len() as u64;
            }
            Err(error) => {
                // Half a line would spoil the next one. In a pipe, a device, or a file that others write
                // to as well, there is nothing to take back.
                if self.is_own && self.file.set_len(self.written_bytes).is_ok() {
                    self.file.seek(SeekFrom::Start(self.written_bytes)).ok();
                }
                self.lost.fetch_add(self.batch_lines, Ordering::Relaxed);
                written.error.get_or_insert(error);
            }
        }
        self.batch.clear();
        self.batch_lines = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::super::tests::sample;
    use super::*;

    /// A path that no other test uses, in a directory that goes away with it.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("sluice-report-{}-{name}", std::process::id()));
            fs::create_dir_all(&dir).unwrap();
            Self(dir)
        }

        fn file(&self) -> PathBuf {
            self.0.join("report.jsonl")
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    fn create(path: &Path) -> Result<ReportWriter, ReportError> {
        ReportFile::open(path).and_then(ReportWriter::start)
    }

    #[test]
    fn reports_of_many_threads_are_whole_lines() {
        let scratch = Scratch::new("threads");
        let writer = create(&scratch.file()).unwrap();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..500).for_each(|_| writer.write(&sample())));
            }
        });
        let finished = writer.finish();
        assert_eq!((finished.written, finished.lost), (4_000, 0));
        let text = fs::read_to_string(scratch.file()).unwrap();
        let line = serde_json::to_string(&sample()).unwrap();
        assert_eq!(text.lines().filter(|found| *found == line).count(), 4_000);
        assert_eq!(text.lines().count(), 4_000);
    }

    #[test]
    fn an_old_file_is_emptied_and_a_late_report_is_counted_as_lost() {
        let scratch = Scratch::new("old");
        fs::write(scratch.file(), "old\n").unwrap();
        let writer = create(&scratch.file()).unwrap();
        assert_eq!(writer.finish().written, 0);
        assert_eq!(fs::read_to_string(scratch.file()).unwrap(), "");
        writer.write(&sample());
        assert_eq!(writer.finish().lost, 1);
    }

    #[test]
    fn an_old_file_is_whole_until_the_report_begins() {
        let scratch = Scratch::new("whole");
        fs::write(scratch.file(), "old\n").unwrap();
        let file = ReportFile::open(&scratch.file()).unwrap();
        assert_eq!(fs::read_to_string(scratch.file()).unwrap(), "old\n");
        drop(file);
    }

    #[test]
    fn a_file_that_cannot_be_made_is_named() {
        let error = create(Path::new("/nonexistent/report.jsonl")).unwrap_err();
        assert_eq!(error.to_string(), "cannot write the report to /nonexistent/report.jsonl");
        assert!(std::error::Error::source(&error).is_some());
    }

    #[test]
    fn a_full_disk_loses_reports_and_says_so() {
        let writer = create(Path::new("/dev/full")).unwrap();
        writer.write(&sample());
        let finished = writer.finish();
        assert_eq!((finished.written, finished.lost), (0, 1));
        assert_eq!(finished.error.unwrap().kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn a_reader_that_is_stuck_makes_nobody_wait() {
        let (reader, pipe) = io::pipe().unwrap();
        let writer = ReportWriter::write_to(File::from(std::os::fd::OwnedFd::from(pipe)), false).unwrap();
        // Nobody reads: the pipe fills, the thread waits, the queue fills, and then reports are lost.
        while writer.lost() == 0 {
            writer.write(&sample());
        }
        drop(reader);
        let finished = writer.finish();
        assert!(finished.lost >= 1);
        assert_eq!(finished.error.unwrap().kind(), io::ErrorKind::BrokenPipe);
    }
}
