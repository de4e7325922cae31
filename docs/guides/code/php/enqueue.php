<?php
// Enqueues a job over HTTP and waits for its result.
$headers = ['content-type: application/json', 'idempotency-key: greet-ann-' . getmypid()];
if ($key = getenv('LONGSHORE_KEY')) {
    $headers[] = "authorization: Bearer $key";
}
$context = stream_context_create(['http' => [
    'method' => 'POST',
    'header' => $headers,
    'content' => json_encode(['kind' => 'greet', 'queue' => 'php', 'args' => ['name' => 'Ann']]),
    'timeout' => 60,
    'ignore_errors' => true, // the answer tells what was wrong
]]);
$answer = file_get_contents((getenv('LONGSHORE_API') ?: 'http://127.0.0.1:8000') . '/v1/jobs?wait=30s', false, $context);
$job = json_decode($answer, true);
if (!isset($job['id'])) {
    fwrite(STDERR, $answer . "\n");
    exit(1);
}
echo "{$job['id']} {$job['state']} {$job['result']}\n";
