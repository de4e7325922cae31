-- watch/outcomes
-- Somebody waits for outcomes, for the next five minutes at least. Rarely a write: each leaves a version of the row that
-- every report has to pass.
update longshore.watch set outcomes_until = now() + interval '10 min' where outcomes_until < now() + interval '5 min'
