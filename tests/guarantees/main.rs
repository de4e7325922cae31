//! The contract's guarantees, a file each: real processes, real signals, a real PostgreSQL, a network that fails.

#[path = "../support/mod.rs"]
mod support;

mod a_repeated_request_is_done_once;
mod a_running_job_is_cancelled;
mod a_users_program;
mod commands;
mod g01_durable_once_acknowledged;
mod g02_at_least_once;
mod g03_one_holder_at_a_time;
mod g04_dead_workers_jobs_come_back;
mod g04_poison_jobs_run_apart;
mod g04_stopping_workers_hand_back;
mod g05_nothing_delays_another;
mod g07_limits_hold;
mod g09_cron_fires_once;
mod g10_each_cause_has_its_remedy;
mod g10_the_database_is_away;
mod g11_one_bad_job;
mod g12_cost_follows_work;
mod g13_versions_and_settings;
mod handlers_may_block;
mod handlers_write_with_their_success;
mod jobs_tell_how_far_they_are;
mod outcomes_are_waited_for;
mod place;
mod pullers;
mod push;
mod system;
mod traces;
mod under_fire;
mod who_is_let_in;
mod workers_answer_probes;
mod workflows_go_on;
