# Enqueues a job over HTTP and waits for its result.
require "json"
require "net/http"

api = URI(ENV.fetch("LONGSHORE_API", "http://127.0.0.1:8000"))
headers = { "content-type" => "application/json", "idempotency-key" => "greet-ann-#{Process.pid}" }
headers["authorization"] = "Bearer #{ENV["LONGSHORE_KEY"]}" if ENV["LONGSHORE_KEY"]
job = { kind: "greet", queue: "ruby", args: { name: "Ann" } }
response = Net::HTTP.post(api + "/v1/jobs?wait=30s", JSON.generate(job), headers)
abort response.body unless response.is_a?(Net::HTTPSuccess)
puts JSON.parse(response.body).values_at("id", "state", "result").join(" ")
