# A worker that leases its jobs over HTTP, on the standard library alone. Start as many of it as you like.
require "json"
require "net/http"
require "socket"

$stdout.sync = true
API = URI(ENV.fetch("LONGSHORE_API", "http://127.0.0.1:8000"))
NAME = "#{Socket.gethostname}:#{Process.pid}"
LEASE_FOR = 5 # seconds: what a killed worker held comes back after them

# What a job does: the value is the result, an exception fails this attempt.
HANDLERS = {
  "greet" => lambda do |args|
    sleep args.fetch("seconds", 0)
    "Good morning, #{args.fetch("name")}"
  end
}

class Refused < StandardError
  attr_reader :status

  def initialize(response)
    @status = response.code.to_i
    super("#{response.code} #{response.body}")
  end
end

# What is no answer: the API is away, and will be back.
AWAY = [SystemCallError, SocketError, Net::OpenTimeout, Net::ReadTimeout, EOFError].freeze

def call(path, body)
  headers = { "content-type" => "application/json" }
  headers["authorization"] = "Bearer #{ENV["LONGSHORE_KEY"]}" if ENV["LONGSHORE_KEY"]
  response = Net::HTTP.post(API + path, JSON.generate(body), headers)
  raise Refused.new(response) unless response.is_a?(Net::HTTPSuccess)

  JSON.parse(response.body)
end

# Extends the lease three times as often as it would end, until the job is not ours any more.
def keep(job)
  loop do
    sleep LEASE_FOR / 3.0
    answer = call("/v1/leases/heartbeat", { leases: [job.slice("id", "lease")], extend: LEASE_FOR })
    break if answer["lost"].any? || answer["cancelled"].any? # a handler that can stop half-way should be told here
  rescue Refused, *AWAY => error
    puts "heartbeat: #{error.message}"
  end
end

# All that is reported may be sent again: after an outage the same outcome is accepted once more.
def report(job, outcome, body)
  call("/v1/jobs/#{job["id"]}/#{outcome}", body.merge(lease: job["lease"]))
  puts "job #{job["id"]}: #{outcome}"
rescue Refused => error
  return puts("job #{job["id"]} is not ours any more: #{error.message}") if error.status == 409
  raise if error.status < 500 && error.status != 429

  sleep 1
  retry
rescue *AWAY => error
  puts "report: #{error.message}"
  sleep 1
  retry
end

def run(job)
  heartbeats = Thread.new { keep(job) }
  begin
    outcome, body = "complete", { result: HANDLERS.fetch(job["kind"]).call(job["args"]) }
  rescue StandardError => error # whatever a job does wrong is its own attempt's failure
    outcome, body = "fail", { error: "#{error.class}: #{error.message}" }
  end
  heartbeats.kill
  report(job, outcome, body)
end

stop = false
%w[TERM INT].each { |name| Signal.trap(name) { stop = true } } # the job in hand is finished, and no other begun
until stop
  wanted = { queues: ["ruby"], kinds: HANDLERS.keys, limit: 1, lease_for: LEASE_FOR, wait: 5, worker: NAME }
  begin
    call("/v1/leases", wanted)["jobs"].each { |job| run(job) }
  rescue *AWAY => error
    puts "lease: #{error.message}"
    sleep 1
  rescue Refused => error
    raise if error.status < 500 && error.status != 429

    puts "lease: #{error.message}"
    sleep 1
  end
end
