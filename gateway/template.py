"""What `glidepath init` writes."""

CONFIG_TEMPLATE = """\
# Glidepath. Any key can be overridden: GLIDEPATH_SERVER__PORT=9000, GLIDEPATH_STORE__URL=redis://...

[server]                        # the port that product teams call
host = "127.0.0.1"
port = 8080
workers = 1                     # processes that share the port, about one per core; limits are per worker
# body_max_bytes = 10485760
# connections_max = 20000
# requests_max = 16384          # under way at once; more wait (interactive before batch), then get 429
# queue_max = 1024
# queue_wait_s = 2
# head_timeout_s = 10           # a caller's head must be whole by then
# body_idle_timeout_s = 30      # between two reads of a caller's body
# keep_alive_s = 75             # idle connections of callers
# drain_grace_s = 0             # after SIGTERM: not ready, but still accepting, until the balancer has noticed
# drain_s = 30                  # then begun answers may finish this long
# memory_max_mb = 2048          # a worker above it is replaced without losing a request

[admin]                         # the operator's port: API, /metrics; keep it off the public network
host = "127.0.0.1"
port = 8081

[store]                         # flags, audit log, keys
url = "sqlite:///glidepath-data/glidepath.db"   # several replicas: "redis://HOST:PORT/DB"
state_dir = "glidepath-data"    # last good snapshot, kill file, dev key

[controller]                    # moves shares as their ramps say; of all replicas' controllers one acts
# enabled = true                # false: only people move shares here, or a `glidepath controller` of its own
# every_s = 1
# lease_s = 10                  # how long the others wait for one that is gone

# [prometheus]                  # where gates with a query are read
# url = "http://127.0.0.1:9090"
# timeout_s = 10
# bearer_file = "token"         # or basic_file ("name:password"), ca_file

# [webhooks.oncall]             # told of every change, signed (Standard Webhooks), tried again for hours
# url = "https://hooks.example/glidepath"
# secret_file = "webhook.secret"
# kinds = ["rollout.roll_back", "rollout.kill"]

[observability]                 # besides /metrics; never any content of requests
# access_log = "access.jsonl"   # one JSON line per request; "-": standard output
# otlp_endpoint = "http://127.0.0.1:4318/v1/traces"   # needs the extra: pip install 'glidepath[otel]'
# trace_ratio = 0.01            # of requests that bring no trace of their own

[checks]                        # free checks of answers: empty, cut, a refusal, a loop, no JSON, ...
# sample_millipct = 10000       # of 100 000; 0: none
# every_feature = false         # also of features whose flag has no gate on "form"
[spool]                         # texts that flags want kept (shadow.keep), redacted, under state_dir
# size_max_mb = 512             # of this replica; the oldest go first
# patterns = { customer = "K-[0-9]{8}" }    # more to redact: becomes [CUSTOMER]

# What the keys of one tenant may use together; [tenant_defaults] is for those without a table of their own.
# [tenants.acme]
# requests_per_minute = 6000
# tokens_per_minute = 2000000
# concurrent_max = 200
# budget_usd_per_day = 50.0
# regions = ["eu"]              # only upstreams of these regions may see its data
# keep_texts = false            # never in the spool, whatever a flag says; default: unless it has regions
# priority = "batch"            # yields to interactive requests under load

[upstreams.inhouse]             # the candidate: your model on vLLM (several base_urls: several replicas)
kind = "vllm"
base_urls = ["http://127.0.0.1:8000/v1"]
model = "demo-moe-good"
# price = { gpus = 8, gpu_usd_per_hour = 2.5 }        # what it runs on, all replicas together: see docs/cost.md

[upstreams.partner]             # the baseline: whoever answers today
kind = "openai"                 # "vllm" | "openai" (and compatible) | "azure" (its v1 API) | "anthropic"
base_urls = ["http://127.0.0.1:9000/v1"]
model = "simulated-partner"
# api_key_env = "OPENAI_API_KEY"  # name of the variable that holds the key
# region = "eu"                 # see [tenants.NAME] regions
# affinity = true               # a conversation stays on one base URL (prefix cache) while the load allows
# connect_timeout_s = 2
# queue_timeout_s = 10          # waiting for a free connection
# first_byte_timeout_s = 60
# idle_timeout_s = 60           # between two reads of one answer
# total_timeout_s = 600
# connections_max = 512         # per base URL and worker
# waiting_max = 4096
# answer_max_bytes = 67108864
# price = { input_usd = 2.5, output_usd = 10.0 }      # per million tokens
# health = { path = "/health", interval_s = 5 }       # asked besides watching its answers
# breaker = { consecutive_failures = 5, failure_ratio = 0.5, window_s = 10, ejected_s = 1, ejected_max_s = 30 }
# retry = { enabled = true, wait_max_s = 5, budget_ratio = 0.2 }   # the one extra attempt before the first byte
# tls = { ca_file = "ca.pem", cert_file = "client.pem", key_file = "client.key" }
# proxy_url = "http://proxy.example:3128"
# proxy_credentials_env = "PROXY_CREDENTIALS"         # user:password

# Who compares both arms' answers to sampled requests (the flag's "shadow" names it); OpenAI's chat completions.
# deploy/stage-table.json names "third": without it nobody compares, and its gates on "judge" hold.
# [judges.third]
# url = "http://127.0.0.1:8001/v1"
# model = "judge-model"         # best of a family that neither arm belongs to
# api_key_env = "JUDGE_API_KEY"
# region = "eu"                 # see [tenants.NAME] regions
# rubric_file = "rubric.md"     # or rubric = "..."; what makes an answer better
# pairs_per_day = 1000          # over all workers and replicas
# concurrent = 4                # per worker
# timeout_s = 60
# parameters = { temperature = 0, max_tokens = 512 }
# proxy_url = "http://proxy.example:3128"
# proxy_credentials_env = "PROXY_CREDENTIALS"

# Or no model at all, where right answers are known: lines of {"prompt": "...", "reference": "..."}.
# [judges.sums]
# kind = "references"
# file = "sums.jsonl"
# scorer = "number"

# A feature starts with 0 % on the candidate. Its share lives in the store from then on:
#   glidepath rollout set-share summarize 5% --reason "first step"
[features.summarize]            # called as model "copilot/summarize"
candidate = "inhouse"
baseline = "partner"
"""
