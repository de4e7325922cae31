// Enqueues a job over HTTP and waits for its result.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
)

func main() {
	api := os.Getenv("LONGSHORE_API")
	if api == "" {
		api = "http://127.0.0.1:8000"
	}
	body, _ := json.Marshal(map[string]any{"kind": "greet", "queue": "go", "args": map[string]any{"name": "Ann"}})
	request, err := http.NewRequest("POST", api+"/v1/jobs?wait=30s", bytes.NewReader(body))
	if err != nil {
		log.Fatal(err)
	}
	request.Header.Set("content-type", "application/json")
	request.Header.Set("idempotency-key", fmt.Sprintf("greet-ann-%d", os.Getpid())) // sent again, it enqueues nothing twice
	if key := os.Getenv("LONGSHORE_KEY"); key != "" {
		request.Header.Set("authorization", "Bearer "+key)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode >= 300 {
		log.Fatal(response.Status, " ", string(answer), " ", err)
	}
	var job struct {
		ID     int64  `json:"id"`
		State  string `json:"state"`
		Result string `json:"result"`
	}
	if err := json.Unmarshal(answer, &job); err != nil {
		log.Fatal(err)
	}
	fmt.Println(job.ID, job.State, job.Result)
}
