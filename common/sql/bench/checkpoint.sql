-- bench/checkpoint
checkpoint
