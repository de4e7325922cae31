//! `longshore top`: queues, workers and jobs, live in a terminal.

mod draw;
mod sample;
mod view;

use std::{io::IsTerminal, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use longshore_common::program;
use ratatui::{
    DefaultTerminal,
    crossterm::{event, terminal},
};
use tokio::sync::mpsc;

use self::{
    draw::Look,
    sample::Sample,
    view::{Action, Popup, View},
};
use crate::{
    backend::{Backend, Place},
    jobs, output,
};

/// How often to read what is shown.
const EVERY: Duration = Duration::from_secs(1);
/// How long an API may take for it, before it counts as away. A database has its own limit.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often to look whether a key was pressed after the program wants to end.
const KEY: Duration = Duration::from_millis(200);
/// Columns where there is no terminal that has some.
const WIDTH: u16 = 120;

/// Watches queues, workers and jobs in the terminal: counts, rates, latencies, what runs and what fails, once a second.
/// Keys: q ends, Tab and arrows select, p pauses a queue, Enter shows a job, ? explains.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Print one frame as text and end; so it is also where the output is no terminal
    #[arg(long)]
    once: bool,
    /// Print one sample as JSON and end
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
Where the database or the API goes away, the first line says so; it goes on by itself when that is back.
NO_COLOR=1 leaves the colours out. Pausing needs an API key with the scope admin, all else one with read.";

/// What the other tasks tell the screen.
enum News {
    Sample(Box<Sample>),
    Trouble(String),
    Note(String),
    Detail { title: String, text: String },
}

pub async fn run(args: &Args, place: &Place) -> anyhow::Result<ExitCode> {
    let backend = place.open().await?;
    let sample = Sample::take(&backend, backend.server().await?).await?;
    let there = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    if args.json {
        output::print_json(&sample)?;
    } else if args.once || !there {
        if !args.once {
            eprintln!("longshore: this is no terminal, so here is one frame, as with --once");
        }
        let width = if there { terminal::size().map_or(WIDTH, |(width, _)| width) } else { WIDTH };
        output::print(&draw::plain(&mut View::new(sample), width))?;
    } else {
        live(Arc::new(backend), View::new(sample)).await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The terminal, put back as it was when this is dropped. A panic puts it back before it says what it is.
struct Screen(DefaultTerminal);

impl Drop for Screen {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            ratatui::restore();
        }
    }
}

async fn live(backend: Arc<Backend>, mut view: View) -> anyhow::Result<()> {
    let look = Look::of_environment();
    let stop = program::stop_on_signals()?;
    let (tell, mut news) = mpsc::channel(16);
    let (pressed, mut keys) = mpsc::channel(16);
    let mut screen = Screen(ratatui::try_init().context("could not take over the terminal; --once prints one frame as text")?);
    std::thread::spawn(move || read_keys(&pressed));
    let sampling = tokio::spawn(sample(backend.clone(), tell.clone()));
    let mut tick = tokio::time::interval(EVERY);
    let ended = loop {
        if let Err(error) = screen.0.draw(|frame| draw::draw(frame, &mut view, look)) {
            break Err(error).context("could not write to the terminal");
        }
        tokio::select! {
            () = stop.cancelled() => break Ok(()),
            _ = tick.tick() => {}
            key = keys.recv() => match key.map(|event| on(&event, &mut view)) {
                None | Some(Action::Quit) => break Ok(()),
                Some(Action::Draw) => {}
                Some(action) => drop(tokio::spawn(act(backend.clone(), action, tell.clone()))),
            },
            Some(news) = news.recv() => match news {
                News::Sample(sample) => view.take(*sample),
                News::Trouble(why) => view.fail(why),
                News::Note(note) => view.note = note,
                News::Detail { title, text } => view.popup = Some(Popup::Detail { title, text, scrolled: 0 }),
            },
        }
    };
    sampling.abort();
    ended
}

fn on(event: &event::Event, view: &mut View) -> Action {
    // a new size needs a new frame, which comes anyway
    if let event::Event::Key(key) = event { view.press(*key) } else { Action::Draw }
}

/// Reads keys in a thread of its own, since reading waits, until nobody wants them.
fn read_keys(pressed: &mpsc::Sender<event::Event>) {
    while !pressed.is_closed() {
        let read = event::poll(KEY).and_then(|there| if there { event::read().map(Some) } else { Ok(None) });
        // where the terminal is gone, the end of the channel ends the program
        let Ok(event) = read else { return };
        if let Some(event) = event
            && pressed.blocking_send(event).is_err()
        {
            return;
        }
    }
}

/// Takes samples, for as long as somebody wants them.
async fn sample(backend: Arc<Backend>, tell: mpsc::Sender<News>) {
    let mut server = None;
    loop {
        tokio::time::sleep(EVERY).await;
        let taken = async {
            let known = match server.take() {
                Some(known) => known,
                None => backend.server().await?,
            };
            let sample = Sample::take(&backend, known).await?;
            server = Some((sample.server.clone(), sample.version.clone()));
            anyhow::Ok(sample)
        };
        let taken = match *backend {
            Backend::Database(_) => taken.await,
            Backend::Http(_) => tokio::time::timeout(PATIENCE, taken).await.unwrap_or_else(|_| Err(anyhow::anyhow!("it does not answer"))),
        };
        let news = match taken {
            Ok(sample) => News::Sample(sample.into()),
            Err(error) => News::Trouble(format!("{error:#}")),
        };
        if tell.send(news).await.is_err() {
            return;
        }
    }
}

/// Does what a key asked for.
async fn act(backend: Arc<Backend>, action: Action, tell: mpsc::Sender<News>) {
    let done = match action {
        Action::Pause { queue, pause } => set_paused(&backend, &queue, pause).await,
        Action::Read(id) => read(&backend, id).await,
        Action::Draw | Action::Quit => return,
    };
    let _ = tell.send(done.unwrap_or_else(|error| News::Note(format!("{error:#}")))).await;
}

async fn set_paused(backend: &Backend, queue: &str, pause: bool) -> anyhow::Result<News> {
    Ok(News::Note(match (backend.pause_queue(queue, pause).await?, pause) {
        (None, _) => format!("there is no queue \"{queue}\" any more"),
        (Some(_), true) => format!("Queue \"{queue}\" takes jobs and starts none."),
        (Some(_), false) => format!("Queue \"{queue}\" starts jobs."),
    }))
}

async fn read(backend: &Backend, id: i64) -> anyhow::Result<News> {
    let (Some((job, history)), Some(explanation)) = tokio::try_join!(backend.job(id), backend.explain(id))? else {
        return Ok(News::Note(format!("job {id} was forgotten")));
    };
    let text = format!("{}\n\n{}", jobs::control::for_people(&explanation), jobs::show::for_people(&job, &history));
    Ok(News::Detail { title: format!("Job {id}"), text })
}
