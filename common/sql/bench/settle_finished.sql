-- bench/settle_finished
vacuum (analyze) longshore.finished
