<?php
// A worker that leases its jobs over HTTP, with PHP's command line alone (pcntl is in it). Start as many of it as you like.
const LEASE_FOR = 5; // seconds: what a killed worker held comes back after them

// What a job does: the value is the result, an exception fails this attempt.
$handlers = [
    'greet' => function (array $args) {
        if (!isset($args['name'])) {
            throw new InvalidArgumentException('there is no name');
        }
        sleep($args['seconds'] ?? 0);
        return "Good morning, {$args['name']}";
    },
];

class Refused extends Exception
{
    /** Whether the same request may be answered otherwise later: by an API that is away (0), among others. */
    public function passes(): bool
    {
        return $this->code === 0 || $this->code >= 500 || $this->code === 429;
    }
}

function call(string $path, array $body): array
{
    $headers = ['content-type: application/json', 'connection: close'];
    if ($key = getenv('LONGSHORE_KEY')) {
        $headers[] = "authorization: Bearer $key";
    }
    $context = stream_context_create(['http' => [
        'method' => 'POST', 'header' => $headers, 'content' => json_encode($body), 'timeout' => 30, 'ignore_errors' => true,
    ]]);
    $answer = @file_get_contents((getenv('LONGSHORE_API') ?: 'http://127.0.0.1:8000') . $path, false, $context);
    $status = isset($http_response_header[0]) ? (int) explode(' ', $http_response_header[0])[1] : 0;
    if ($answer === false || $status < 200 || $status > 299) {
        throw new Refused($answer === false ? 'no answer' : "$status $answer", $status);
    }
    return json_decode($answer, true);
}

/** Extends the lease three times as often as it would end, in a process beside: the job may block this one. */
function keep(array $job): int
{
    $worker = getmypid();
    $process = pcntl_fork();
    if ($process !== 0) {
        return $process;
    }
    pcntl_signal(SIGINT, SIG_IGN); // the worker ends this process, when the job is done
    while (posix_getppid() === $worker) {
        usleep((int) (LEASE_FOR * 1_000_000 / 3));
        try {
            call('/v1/leases/heartbeat', ['leases' => [['id' => $job['id'], 'lease' => $job['lease']]], 'extend' => LEASE_FOR]);
        } catch (Refused $error) {
            echo "heartbeat: {$error->getMessage()}\n";
        }
    }
    exit(0);
}

/** All that is reported may be sent again: after an outage the same outcome is accepted once more. */
function report(array $job, string $outcome, array $body): void
{
    for (;;) {
        try {
            call("/v1/jobs/{$job['id']}/$outcome", ['lease' => $job['lease']] + $body);
            echo "job {$job['id']}: $outcome\n";
            return;
        } catch (Refused $error) {
            if ($error->getCode() === 409) {
                echo "job {$job['id']} is not ours any more: {$error->getMessage()}\n";
                return;
            }
            if (!$error->passes()) {
                throw $error;
            }
            echo "report: {$error->getMessage()}\n";
            sleep(1);
        }
    }
}

function run(array $job, callable $handler): void
{
    $heartbeats = keep($job);
    try {
        [$outcome, $body] = ['complete', ['result' => $handler($job['args'])]];
    } catch (Throwable $error) { // whatever a job does wrong is its own attempt's failure
        [$outcome, $body] = ['fail', ['error' => get_class($error) . ': ' . $error->getMessage()]];
    }
    posix_kill($heartbeats, SIGKILL);
    pcntl_waitpid($heartbeats, $status);
    report($job, $outcome, $body);
}

$stop = false;
pcntl_async_signals(true);
foreach ([SIGTERM, SIGINT] as $signal) {
    pcntl_signal($signal, function () use (&$stop) { $stop = true; }); // the job in hand is finished, and no other begun
}
while (!$stop) {
    $wanted = ['queues' => ['php'], 'kinds' => array_keys($handlers), 'limit' => 1, 'lease_for' => LEASE_FOR, 'wait' => 5,
        'worker' => gethostname() . ':' . getmypid()];
    try {
        foreach (call('/v1/leases', $wanted)['jobs'] as $job) {
            run($job, $handlers[$job['kind']]);
        }
    } catch (Refused $error) {
        if (!$error->passes()) {
            throw $error;
        }
        echo "lease: {$error->getMessage()}\n"; // the API is away: it will be back
        sleep(1);
    }
}
