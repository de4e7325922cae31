//! A frame of `longshore top`. It fits any size: what has no room is cut off.

use jiff::Timestamp;
use longshore_common::store::queues::QueueView;
use ratatui::{
    Frame, Terminal,
    backend::TestBackend,
    buffer,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span, Text},
    widgets::{Block, Cell, Clear, Paragraph, Row, Table, Wrap},
};

use super::view::{Pane, Popup, View};
use crate::output::{grouped, shortened};

/// Lines above the panes.
const HEADER: u16 = 6;
/// Lines of a pane beside its rows: its name, and those of its columns.
const HEADINGS: usize = 2;

/// Columns that the panes need in full.
const WIDE: u16 = 70;

const KEYS: &str = " q quit  Tab pane  ↑↓ select  p pause  Enter job  ? help";
const HELP: &str = "\
q, Esc, Ctrl-C   end
Tab, ← →         next pane, previous pane
↑ ↓, PgUp PgDn   select a line, or scroll
p                pause or resume the selected queue
Enter            the selected job in full, and why it does not run
?                this help

Rates are jobs a second within the last minute; waits and runs are
those of jobs that finished within it.";

/// How it looks.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    colour: bool,
}

impl Look {
    /// With colours, unless `NO_COLOR` is set.
    pub fn of_environment() -> Self {
        Self { colour: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) }
    }

    fn tinted(self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }
}

/// A frame as text, with all lines of all panes.
pub fn plain(view: &mut View, width: u16) -> String {
    let lines: usize = Pane::ALL.iter().map(|pane| view.lines(*pane) + HEADINGS).sum();
    let height = HEADER.saturating_add(u16::try_from(lines).unwrap_or(u16::MAX)).min(u16::MAX / width.max(1));
    let Ok(mut terminal) = Terminal::new(TestBackend::new(width, height));
    let Ok(frame) = terminal.draw(|frame| {
        let [header, panes] = Layout::vertical([Constraint::Length(HEADER), Constraint::Fill(1)]).areas(frame.area());
        draw_header(frame, header, view, Look { colour: false });
        draw_panes(frame, panes, view, Look { colour: false }, false);
    });
    let cells = &frame.buffer.content;
    let lines = cells.chunks(usize::from(width.max(1))).map(|line| line.iter().map(buffer::Cell::symbol).collect::<String>().trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

/// Draws a frame.
pub fn draw(frame: &mut Frame, view: &mut View, look: Look) {
    let [header, panes, footer] = Layout::vertical([Constraint::Length(HEADER), Constraint::Fill(1), Constraint::Length(1)]).areas(frame.area());
    draw_header(frame, header, view, look);
    draw_panes(frame, panes, view, look, true);
    let said = if view.note.is_empty() { KEYS.to_owned() } else { format!(" {}", view.note) };
    frame.render_widget(Paragraph::new(said).style(Style::new().add_modifier(Modifier::DIM)), footer);
    if let Some(popup) = &view.popup {
        draw_popup(frame, popup);
    }
}

fn draw_header(frame: &mut Frame, area: Rect, view: &View, look: Look) {
    let sample = &view.sample;
    let title = match view.trouble() {
        Some(trouble) => Line::styled(format!(" {trouble}"), look.tinted(Color::Red).add_modifier(Modifier::BOLD | Modifier::REVERSED)),
        None => Line::styled(format!(" Longshore {}  {}  {}", sample.version, sample.server, second(sample.at)), Style::new().add_modifier(Modifier::BOLD)),
    };
    let totals = &sample.stats.totals;
    let mut counts = Vec::new();
    for (state, count) in totals.counts.each() {
        if count > 0 || matches!(state, "available" | "running" | "failed") {
            let bad = state == "failed" && count > 0;
            counts.push(Span::styled(format!(" {state} {} ", number(count)), if bad { look.tinted(Color::Red) } else { Style::new() }));
        }
    }
    counts.push(Span::raw(format!(" workers {}", totals.workers)));
    let half = usize::from(area.width / 2);
    let rate = |name: &str, of: fn(&longshore_common::store::stats::Rates) -> f64| {
        let text = format!(" {name:<9} {:>8.1}/s ", of(&totals.rates));
        let bars = view.history.spark(half.saturating_sub(text.chars().count() + 1), of);
        format!("{:<half$}", text + &bars)
    };
    let latency =
        |name: &str, of: longshore_common::store::stats::Latency| format!(" {name}  p50 {}  p95 {}  p99 {} ", length(of.p50), length(of.p95), length(of.p99));
    let lines = vec![
        title,
        Line::from(counts),
        Line::styled(rate("enqueued", |rates| rates.enqueued) + &rate("started", |rates| rates.started), look.tinted(Color::Cyan)),
        Line::from(vec![
            Span::styled(rate("succeeded", |rates| rates.succeeded), look.tinted(Color::Green)),
            Span::styled(rate("failed", |rates| rates.failed), look.tinted(Color::Red)),
        ]),
        Line::from(latency("wait", totals.latency.wait) + " " + &latency("run", totals.latency.run)),
    ];
    frame.render_widget(Paragraph::new(lines), area);
}

fn draw_panes(frame: &mut Frame, area: Rect, view: &mut View, look: Look, keys: bool) {
    let needed = Pane::ALL.map(|pane| u16::try_from(view.lines(pane) + HEADINGS).unwrap_or(u16::MAX));
    let fits = needed.iter().map(|lines| u32::from(*lines)).sum::<u32>() <= u32::from(area.height);
    let shares = [3, 2, 3];
    // with too little room for a row of each, the one that has the keys gets it
    let one = area.height < 9 && keys;
    let sizes = Pane::ALL.map(|pane| match pane as usize {
        n if fits => Constraint::Length(needed[n]),
        _ if one => Constraint::Fill(u16::from(pane == view.pane)),
        n => Constraint::Fill(shares[n]),
    });
    let areas: [Rect; 3] = Layout::vertical(sizes).areas(area);
    for (pane, area) in Pane::ALL.into_iter().zip(areas) {
        let focused = keys && view.pane == pane;
        let (name, columns, rows) = match pane {
            Pane::Queues => queues(view, look),
            Pane::Workers => workers(view),
            Pane::Jobs => jobs(view, look),
        };
        let shown = |column: &Column| column.2 || area.width >= WIDE;
        let rows = rows
            .into_iter()
            .map(|(cells, style)| Row::new(cells.into_iter().zip(columns).filter(|(_, column)| shown(column)).map(|(cell, _)| cell)).style(style));
        let columns: Vec<&Column> = columns.iter().filter(|column| shown(column)).collect();
        let heading = Style::new().add_modifier(if focused { Modifier::BOLD | Modifier::UNDERLINED } else { Modifier::BOLD });
        let table = Table::new(rows, columns.iter().map(|column| column.1))
            .block(Block::new().title(Line::styled(format!(" {name} "), heading)))
            .header(Row::new(columns.iter().map(|column| column.0)).style(look.tinted(Color::DarkGray)))
            .row_highlight_style(if focused { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() });
        frame.render_stateful_widget(table, area, &mut view.selected[pane as usize]);
    }
}

/// Its name, its width, and whether it is shown where there is little room.
type Column = (&'static str, Constraint, bool);
/// A pane's name, its columns, its rows.
type Parts = (String, &'static [Column], Vec<(Vec<Cell<'static>>, Style)>);

fn queues(view: &View, look: Look) -> Parts {
    const COLUMNS: &[Column] = &[
        (" QUEUE", Constraint::Fill(2), true),
        ("AVAILABLE", Constraint::Length(9), true),
        ("RUNNING", Constraint::Length(7), true),
        ("SCHEDULED", Constraint::Length(9), false),
        ("RETRYABLE", Constraint::Length(9), false),
        ("FAILED", Constraint::Length(7), true),
        (" OLDEST", Constraint::Length(7), false),
        ("LIMITS", Constraint::Fill(1), false),
    ];
    let rows = view.sample.queues.iter().map(|queue| {
        let counts = queue.counts;
        let name = if queue.paused { format!(" {} (paused)", queue.name) } else { format!(" {}", queue.name) };
        let age = queue.oldest_available_age.map_or_else(|| "-".to_owned(), |age| length(Some(age.max(0.0))));
        let figures = [counts.available, counts.running, counts.scheduled, counts.retryable, counts.failed].map(number);
        let figures = figures.into_iter().chain([age]).map(|figure| Cell::from(Text::from(figure).right_aligned()));
        let cells = [Cell::from(name)].into_iter().chain(figures).chain([Cell::from(limits(queue))]).collect();
        (cells, if queue.paused { look.tinted(Color::Yellow) } else { Style::new() })
    });
    (format!("Queues {}", view.sample.queues.len()), COLUMNS, rows.collect())
}

fn limits(queue: &QueueView) -> String {
    let number = |name: &str, limit: Option<i32>| limit.map(|limit| format!("{name} {limit}"));
    let rate = queue.rate.map(|rate| format!("{}/{} s", rate.limit, rate.per.0));
    let all = [
        number("run", queue.max_running),
        number("key", queue.max_running_per_key),
        rate,
        number("wait", queue.max_waiting),
        queue.fair.then(|| "fair".to_owned()),
    ];
    all.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

fn workers(view: &View) -> Parts {
    const COLUMNS: &[Column] = &[
        (" WORKER", Constraint::Fill(2), true),
        ("RUNNING", Constraint::Length(7), true),
        ("QUEUES", Constraint::Fill(1), false),
        ("UP", Constraint::Length(7), false),
        ("SEEN", Constraint::Length(7), true),
        ("VERSION", Constraint::Length(9), false),
    ];
    let rows = view.sample.workers.iter().map(|worker| {
        let age = |at: Timestamp| length(Some(view.sample.at.duration_since(at).as_secs_f64().max(0.0)));
        let id = format!(" {}", worker.id);
        let cells = [id, worker.running.to_string(), worker.queues.join(","), age(worker.since), age(worker.last_seen), worker.version.clone()];
        (cells.map(Cell::from).into(), Style::new())
    });
    (format!("Workers {}", view.sample.workers.len()), COLUMNS, rows.collect())
}

fn jobs(view: &View, look: Look) -> Parts {
    const COLUMNS: &[Column] = &[
        (" ID", Constraint::Length(9), true),
        ("KIND", Constraint::Fill(2), true),
        ("QUEUE", Constraint::Fill(2), false),
        ("STATE", Constraint::Length(9), true),
        ("ATTEMPT", Constraint::Length(7), false),
        ("SINCE", Constraint::Length(7), false),
        ("ERROR OR WORKER", Constraint::Fill(4), true),
    ];
    let sample = &view.sample;
    let rows = sample.jobs().enumerate().map(|(index, job)| {
        // since when it runs, or has failed
        let since = job.finished_at.or(job.started_at).unwrap_or(job.run_at);
        let age = length(Some(sample.at.duration_since(since).as_secs_f64().max(0.0)));
        let said = job.error.as_deref().or(job.worker.as_deref()).unwrap_or_default();
        let attempt = format!("{}/{}", job.attempt, job.max_attempts);
        let cells = [format!(" {}", job.id), job.kind.clone(), job.queue.clone(), job.state.word().to_owned(), attempt, age, shortened(said, 200)];
        (cells.map(Cell::from).into(), if index < sample.running.len() { Style::new() } else { look.tinted(Color::Red) })
    });
    (format!("Jobs that run {}, that fail {}", sample.running.len(), sample.failing.len()), COLUMNS, rows.collect())
}

fn draw_popup(frame: &mut Frame, popup: &Popup) {
    let (title, text, scrolled) = match popup {
        Popup::Help => ("Keys", HELP.to_owned(), 0),
        Popup::Confirm { queue, pause: true } => ("Pause?", format!("Let queue \"{queue}\" take jobs and start none?\n\ny: yes    any other key: no"), 0),
        Popup::Confirm { queue, pause: false } => ("Resume?", format!("Let queue \"{queue}\" start jobs again?\n\ny: yes    any other key: no"), 0),
        Popup::Detail { title, text, scrolled } => (&title[..], text.clone(), *scrolled),
    };
    let all = frame.area();
    let [lines, columns] = [text.lines().count(), text.lines().map(|line| line.chars().count()).max().unwrap_or(0)];
    let size = |needed: usize, most: u16| u16::try_from(needed + 4).unwrap_or(u16::MAX).min(most);
    let area = all.centered(Constraint::Length(size(columns, all.width)), Constraint::Length(size(lines, all.height)));
    frame.render_widget(Clear, area);
    let block = Block::bordered().title(format!(" {title} "));
    frame.render_widget(Paragraph::new(text).block(block).wrap(Wrap { trim: false }).scroll((scrolled, 0)), area);
}

/// To the second.
fn second(at: Timestamp) -> String {
    crate::output::time(at)
}

fn number(count: i64) -> String {
    grouped(count.unsigned_abs())
}

/// A length of time in a few characters: 12 ms, 3.4 s, 5 m, 2 h, 3 d.
fn length(seconds: Option<f64>) -> String {
    let Some(seconds) = seconds else { return "-".to_owned() };
    match seconds {
        s if s < 0.9995 => format!("{:.0} ms", s * 1000.0),
        s if s < 100.0 => format!("{s:.1} s"),
        s if s < 6000.0 => format!("{:.0} m", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3600.0),
        s => format!("{:.0} d", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests;
