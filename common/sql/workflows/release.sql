-- workflows/release
-- Jobs that had ended before others were added behind them.
select longshore.release($1)
