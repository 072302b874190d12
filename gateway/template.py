"""What `glidepath init` writes."""

CONFIG_TEMPLATE = """\
# Glidepath. Any key can be overridden: GLIDEPATH_SERVER__PORT=9000, GLIDEPATH_STORE__URL=redis://...

[server]                        # the port that product teams call
host = "127.0.0.1"
port = 8080
workers = 1                     # processes that share the port: about one per core
# body_max_bytes = 10485760
# keep_alive_s = 75             # idle connections of callers
# drain_grace_s = 0             # after SIGTERM: not ready but accepting so long, until balancers have noticed
# drain_s = 30                  # then begun answers may finish this long

[admin]                         # the operator's port: API, /metrics; keep it off the public network
host = "127.0.0.1"
port = 8081

[store]                         # flags, audit log, keys
url = "sqlite:///glidepath-data/glidepath.db"   # several replicas: "redis://HOST:PORT/DB"
state_dir = "glidepath-data"    # last good snapshot, kill file, dev key

[upstreams.inhouse]             # the candidate: your model on vLLM (several base_urls: several replicas)
kind = "vllm"
base_urls = ["http://127.0.0.1:8000/v1"]
model = "demo-moe-good"

[upstreams.partner]             # the baseline: whoever answers today
kind = "openai"                 # "vllm" | "openai" | "azure" (its OpenAI v1 API)
base_urls = ["http://127.0.0.1:9000/v1"]
model = "simulated-partner"
# api_key_env = "OPENAI_API_KEY"  # name of the variable that holds the key
# connect_timeout_s = 2
# first_byte_timeout_s = 60
# idle_timeout_s = 60           # between two reads of one answer
# total_timeout_s = 600
# connections_max = 512         # per base URL

# A feature starts with 0 % on the candidate. Its share lives in the store from then on:
#   glidepath rollout set-share summarize 5% --reason "first step"
[features.summarize]            # called as model "copilot/summarize"
candidate = "inhouse"
baseline = "partner"
"""
