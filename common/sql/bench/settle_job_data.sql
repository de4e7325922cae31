-- bench/settle_job_data
vacuum (analyze) longshore.job_data
