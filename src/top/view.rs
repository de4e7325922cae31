//! What is looked at: the newest sample, what is selected, what is open above it; and what keys do.

use std::time::{Duration, Instant};

use ratatui::{
    crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
    widgets::TableState,
};

use super::sample::{History, Sample};

/// A sample that is older than that is said to be old.
const OLD: Duration = Duration::from_secs(4);

/// A part of the screen whose lines can be selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pane {
    /// The queues.
    Queues,
    /// The workers.
    Workers,
    /// Jobs that run or fail.
    Jobs,
}

impl Pane {
    /// In their order.
    pub const ALL: [Self; 3] = [Self::Queues, Self::Workers, Self::Jobs];
}

/// What lies above the panes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Popup {
    /// The keys.
    Help,
    /// A question about a queue.
    Confirm {
        /// Which.
        queue: String,
        /// Whether it is to be paused, or resumed.
        pause: bool,
    },
    /// A job in full.
    Detail {
        /// Its heading.
        title: String,
        /// The text.
        text: String,
        /// Lines that are scrolled away.
        scrolled: u16,
    },
}

/// What is to be done after a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing but a new frame.
    Draw,
    /// The end.
    Quit,
    /// Pause or resume a queue.
    Pause {
        /// Which.
        queue: String,
        /// Which of both.
        pause: bool,
    },
    /// Read a job in full.
    Read(i64),
}

/// All that a frame is drawn of.
#[derive(Debug)]
pub struct View {
    /// The newest sample.
    pub sample: Sample,
    /// The rates before it.
    pub history: History,
    /// Which pane the keys are for.
    pub pane: Pane,
    /// What is selected in each.
    pub selected: [TableState; 3],
    /// What lies above.
    pub popup: Option<Popup>,
    /// What became of the last call.
    pub note: String,
    trouble: Option<String>,
    sampled: Instant,
}

impl View {
    /// The first one.
    pub fn new(sample: Sample) -> Self {
        let selected = [(); 3].map(|()| TableState::new().with_selected(0));
        let mut history = History::default();
        history.add(sample.stats.totals.rates);
        Self { sample, history, pane: Pane::Queues, selected, popup: None, note: String::new(), trouble: None, sampled: Instant::now() }
    }

    /// Takes a newer sample.
    pub fn take(&mut self, sample: Sample) {
        self.history.add(sample.stats.totals.rates);
        (self.sample, self.trouble, self.sampled) = (sample, None, Instant::now());
    }

    /// No sample came, and why.
    pub fn fail(&mut self, why: String) {
        self.trouble = Some(why);
    }

    /// What is wrong with what is shown; `None`: it is of now.
    pub fn trouble(&self) -> Option<String> {
        let age = self.sampled.elapsed();
        match &self.trouble {
            Some(why) => Some(format!("AWAY for {} s; it is tried again: {why}", age.as_secs())),
            None if age > OLD => Some(format!("NO ANSWER for {} s; it is tried again", age.as_secs())),
            None => None,
        }
    }

    /// Lines of a pane.
    pub fn lines(&self, pane: Pane) -> usize {
        match pane {
            Pane::Queues => self.sample.queues.len(),
            Pane::Workers => self.sample.workers.len(),
            Pane::Jobs => self.sample.jobs().count(),
        }
    }

    /// Takes a key.
    pub fn press(&mut self, key: KeyEvent) -> Action {
        if key.kind == KeyEventKind::Release {
            return Action::Draw;
        }
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            return Action::Quit;
        }
        self.note.clear();
        match self.popup.take() {
            Some(popup) => self.answer(popup, key.code),
            None => self.command(key.code),
        }
    }

    fn command(&mut self, key: KeyCode) -> Action {
        match key {
            KeyCode::Char('q') | KeyCode::Esc => return Action::Quit,
            KeyCode::Char('?' | 'h') => self.popup = Some(Popup::Help),
            KeyCode::Tab | KeyCode::Right => self.turn(1),
            KeyCode::BackTab | KeyCode::Left => self.turn(Pane::ALL.len() - 1),
            KeyCode::Down | KeyCode::Char('j') => self.select(|at| at.saturating_add(1)),
            KeyCode::Up | KeyCode::Char('k') => self.select(|at| at.saturating_sub(1)),
            KeyCode::PageDown => self.select(|at| at.saturating_add(10)),
            KeyCode::PageUp => self.select(|at| at.saturating_sub(10)),
            KeyCode::Home => self.select(|_| 0),
            KeyCode::End => self.select(|_| usize::MAX),
            KeyCode::Char('p') => match self.queue() {
                Some((queue, paused)) => self.popup = Some(Popup::Confirm { queue, pause: !paused }),
                None => "p pauses the queue that is selected: Tab goes to the queues".clone_into(&mut self.note),
            },
            KeyCode::Enter => match self.job() {
                Some(id) => return Action::Read(id),
                None => "Enter shows the job that is selected: Tab goes to the jobs".clone_into(&mut self.note),
            },
            _ => {}
        }
        Action::Draw
    }

    /// A key while something lies above.
    fn answer(&mut self, popup: Popup, key: KeyCode) -> Action {
        match (popup, key) {
            (Popup::Confirm { queue, pause }, KeyCode::Char('y' | 'Y')) => return Action::Pause { queue, pause },
            (Popup::Confirm { .. }, _) => "Nothing was changed.".clone_into(&mut self.note),
            (Popup::Detail { title, text, scrolled }, KeyCode::Down | KeyCode::Char('j') | KeyCode::PageDown) => {
                let most = u16::try_from(text.lines().count()).unwrap_or(u16::MAX).saturating_sub(1);
                let step = if key == KeyCode::PageDown { 10 } else { 1 };
                self.popup = Some(Popup::Detail { title, text, scrolled: scrolled.saturating_add(step).min(most) });
            }
            (Popup::Detail { title, text, scrolled }, KeyCode::Up | KeyCode::Char('k') | KeyCode::PageUp) => {
                let step = if key == KeyCode::PageUp { 10 } else { 1 };
                self.popup = Some(Popup::Detail { title, text, scrolled: scrolled.saturating_sub(step) });
            }
            _ => {}
        }
        Action::Draw
    }

    fn turn(&mut self, by: usize) {
        self.pane = Pane::ALL[(self.pane as usize + by) % Pane::ALL.len()];
    }

    fn select(&mut self, to: impl Fn(usize) -> usize) {
        let last = self.lines(self.pane).saturating_sub(1);
        let state = &mut self.selected[self.pane as usize];
        state.select(Some(to(state.selected().unwrap_or(0).min(last)).min(last)));
    }

    /// The line that is selected, if that pane has the keys.
    fn at(&self, pane: Pane) -> Option<usize> {
        let last = self.lines(pane).checked_sub(1)?;
        (self.pane == pane).then(|| self.selected[pane as usize].selected().unwrap_or(0).min(last))
    }

    fn queue(&self) -> Option<(String, bool)> {
        let queue = self.sample.queues.get(self.at(Pane::Queues)?)?;
        Some((queue.name.clone(), queue.paused))
    }

    fn job(&self) -> Option<i64> {
        self.sample.jobs().nth(self.at(Pane::Jobs)?).map(|job| job.id)
    }
}
