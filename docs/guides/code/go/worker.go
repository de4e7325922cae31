// A worker that leases its jobs over HTTP, on the standard library alone. Start as many of it as you like.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

const (
	leaseFor = 5 * time.Second // what a killed worker held comes back after it
	atOnce   = 10
)

type Job struct {
	ID    int64           `json:"id"`
	Lease string          `json:"lease"`
	Kind  string          `json:"kind"`
	Args  json.RawMessage `json:"args"`
}

// What a job does: the value is the result, an error fails this attempt. The context ends when the job is cancelled or lost.
type Handler func(ctx context.Context, args json.RawMessage) (any, error)

var handlers = map[string]Handler{
	"greet": func(ctx context.Context, args json.RawMessage) (any, error) {
		var who struct {
			Name    string  `json:"name"`
			Seconds float64 `json:"seconds"`
		}
		if err := json.Unmarshal(args, &who); err != nil {
			return nil, err
		}
		if who.Name == "" {
			return nil, errors.New("there is no name")
		}
		select {
		case <-time.After(time.Duration(who.Seconds * float64(time.Second))):
			return "Good morning, " + who.Name, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	},
}

type refused struct {
	status int
	body   string
}

func (r refused) Error() string { return fmt.Sprintf("%d %s", r.status, r.body) }

// passes: whether the same request may be answered otherwise later.
func passes(err error) bool {
	var r refused
	return !errors.As(err, &r) || r.status >= 500 || r.status == 429
}

var client = http.Client{Timeout: 30 * time.Second}

func call(ctx context.Context, path string, body, answer any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	api := os.Getenv("LONGSHORE_API")
	if api == "" {
		api = "http://127.0.0.1:8000"
	}
	request, err := http.NewRequestWithContext(ctx, "POST", api+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	request.Header.Set("content-type", "application/json")
	if key := os.Getenv("LONGSHORE_KEY"); key != "" {
		request.Header.Set("authorization", "Bearer "+key)
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if text, err = io.ReadAll(response.Body); err != nil {
		return err
	}
	if response.StatusCode >= 300 {
		return refused{response.StatusCode, string(text)}
	}
	return json.Unmarshal(text, answer)
}

// keep extends the lease three times as often as it would end, until the job is done or not ours any more.
func keep(ctx context.Context, job Job, cancel context.CancelFunc) {
	ticker := time.NewTicker(leaseFor / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		var answer struct{ Lost, Cancelled []int64 }
		leases := []map[string]any{{"id": job.ID, "lease": job.Lease}}
		if err := call(ctx, "/v1/leases/heartbeat", map[string]any{"leases": leases, "extend": leaseFor.Seconds()}, &answer); err != nil {
			if ctx.Err() == nil {
				log.Print("heartbeat: ", err)
			}
		} else if len(answer.Lost)+len(answer.Cancelled) > 0 {
			cancel()
		}
	}
}

// report: all that is reported may be sent again; after an outage the same outcome is accepted once more.
func report(job Job, outcome string, body map[string]any) {
	body["lease"] = job.Lease
	for {
		var answer any
		err := call(context.Background(), fmt.Sprintf("/v1/jobs/%d/%s", job.ID, outcome), body, &answer)
		var r refused
		switch {
		case err == nil:
			log.Printf("job %d: %s", job.ID, outcome)
			return
		case errors.As(err, &r) && r.status == http.StatusConflict:
			log.Printf("job %d is not ours any more: %v", job.ID, err)
			return
		case !passes(err):
			log.Fatal(err)
		}
		log.Print("report: ", err)
		time.Sleep(time.Second)
	}
}

func run(job Job) {
	ctx, cancel := context.WithCancel(context.Background())
	go keep(ctx, job, cancel)
	result, err := handle(ctx, job)
	cancel()
	if err != nil {
		report(job, "fail", map[string]any{"error": err.Error()})
	} else {
		report(job, "complete", map[string]any{"result": result})
	}
}

// handle: whatever a job does wrong is its own attempt's failure.
func handle(ctx context.Context, job Job) (result any, err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("panic: %v", panicked)
		}
	}()
	return handlers[job.Kind](ctx, job.Args)
}

func main() {
	host, _ := os.Hostname()
	kinds := []string{}
	for kind := range handlers {
		kinds = append(kinds, kind)
	}
	wanted := map[string]any{"queues": []string{"go"}, "kinds": kinds, "limit": atOnce, "lease_for": leaseFor.Seconds(), "wait": 5,
		"worker": fmt.Sprintf("%s:%d", host, os.Getpid())}
	// jobs in hand are finished, and no other begun; a request that is given up hands back what it was to get
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	for ctx.Err() == nil {
		var leased struct{ Jobs []Job }
		if err := call(ctx, "/v1/leases", wanted, &leased); err != nil && ctx.Err() == nil {
			if !passes(err) {
				log.Fatal(err)
			}
			log.Print("lease: ", err) // the API is away: it will be back
			time.Sleep(time.Second)
		}
		var jobs sync.WaitGroup
		for _, job := range leased.Jobs {
			jobs.Add(1)
			go func(job Job) { defer jobs.Done(); run(job) }(job)
		}
		jobs.Wait()
	}
}
