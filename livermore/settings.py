"""All settings of a deployment; the environment is read here and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

from livermore import embedded, endpoints, local_secret

BASE_DIR = Path(__file__).resolve().parent.parent

# The complete schema: name, type, default. `.env.example` lists the same names (a test compares them).
env = environ.Env(
    # "local" invents what is missing and keeps it under LIVERMORE_VAR; "production" refuses instead.
    LIVERMORE_ENV=(str, "local"),
    # Where local data lives: SQLite file, embedded Redis, generated secrets, spool, logs.
    LIVERMORE_VAR=(str, str(BASE_DIR / "var")),
    # Signs sessions; required in production.
    SECRET_KEY=(str, ""),
    # Fernet keys (comma-separated, newest first) that encrypt users' exchange credentials; required in production.
    CREDENTIALS_KEYS=(list, []),
    DEBUG=(bool, False),
    # Host names the web process answers to.
    ALLOWED_HOSTS=(list, ["127.0.0.1", "localhost", "[::1]"]),
    # Origins trusted for form posts when a proxy terminates TLS.
    CSRF_TRUSTED_ORIGINS=(list, []),
    # Empty: a SQLite file under LIVERMORE_VAR.
    DATABASE_URL=(str, ""),
    # Empty: the embedded Redis. redis://, rediss://, sentinel:// or amqp://; never a Redis Cluster.
    CELERY_BROKER_URL=(str, ""),
    # A message that no worker finishes within so many seconds is delivered again (Redis brokers).
    BROKER_VISIBILITY_TIMEOUT_S=(int, 300),
    # Empty: the embedded Redis. May be a Cluster (redis://…?cluster=true).
    STATE_REDIS_URL=(str, ""),
    # Redis, broker or PostgreSQL in plain text through a public network is refused unless this says otherwise.
    PLAIN_STORES_ALLOWED=(bool, False),
    # A worker that takes more memory than this ends in good order and is started again; 0: never.
    WORKER_MAX_MEMORY_MB=(int, 1024),
    # So often (s) each running exchange sends a canary through all stations, for /health/ready.
    CANARY_EVERY_S=(int, 10),
    # So much each exchange's frames may take on disk while the broker is away; then the oldest go, as gaps.
    SPOOL_MAX_MB=(int, 2048),
    # JSON: for how many days candles of a timeframe stay in the database; those it does not name stay for ever.
    CANDLE_DAYS=(dict, {"5m": 400}),
    # For how many days closed signals, and alerts, stay in the database; the scoreboard looks back thirty.
    SIGNAL_DAYS=(int, 400),
    # JSON: alerts on MACD-V, {"levels": [150, …], "rearm_band": 10, "timeframes": ["5m", …], "needs_converged": true}.
    ALERT_RULES=(dict, {}),
    # JSON that wins over the exchange's row: {"kucoin": {"rest": "http://…", "ws": "ws://…"}}.
    EXCHANGE_ENDPOINTS=(dict, {}),
    # JSON with keys for public data, where a venue takes them: {"coinbase": {"name": "…", "private_key": "<PEM>"}}.
    VENUE_KEYS=(dict, {}),
    # ISO 3166 code of this host (DE, US-CA) for the geo check; empty: detected, unknown means refuse.
    LIVERMORE_REGION=(str, ""),
    # Where Flower answers, for the link in the pages; empty: no link.
    FLOWER_URL=(str, ""),
    # Networks (CIDR, comma-separated) in which webhooks may be, by http, too; all other private addresses are refused.
    WEBHOOK_PRIVATE_NETWORKS=(list, []),
    # Asked for every half minute while beat, broker and workers live (a dead man's switch); empty: nowhere.
    HEARTBEAT_URL=(str, ""),
    # So many calls of the API a token or user may make in a minute; 0: any number.
    API_CALLS_PER_MINUTE=(int, 300),
    # Lets a scraper read /metrics, as `Authorization: Bearer <token>`; empty: only logins and API tokens may.
    METRICS_TOKEN=(str, ""),
    LOG_LEVEL=(str, "INFO"),
)
environ.Env.read_env(BASE_DIR / ".env") if (BASE_DIR / ".env").exists() else None
for _name, (_kind, _default) in env.scheme.items():
    try:
        env.json(_name, default=None) if _kind is dict else env(_name)
    except ValueError:
        _accepted = {dict: "JSON", int: "a whole number", bool: "True or False"}.get(_kind, _kind.__name__)
        raise ImproperlyConfigured(f"{_name} cannot be read: write {_accepted}; see .env.example") from None

IS_PRODUCTION = env("LIVERMORE_ENV") == "production"
VAR_DIR = Path(env("LIVERMORE_VAR") or BASE_DIR / "var")


def _required(name: str, value: Any) -> Any:
    if not value:
        raise ImproperlyConfigured(f"{name} must be set when LIVERMORE_ENV=production")
    return value


if IS_PRODUCTION:
    SECRET_KEY = _required("SECRET_KEY", env("SECRET_KEY"))
    CREDENTIALS_KEYS = _required("CREDENTIALS_KEYS", env("CREDENTIALS_KEYS"))
else:
    SECRET_KEY = env("SECRET_KEY") or local_secret.text(VAR_DIR / "secret_key")
    CREDENTIALS_KEYS = env("CREDENTIALS_KEYS") or [local_secret.fernet_key(VAR_DIR / "credentials_key")]

DEBUG = env("DEBUG")
ALLOWED_HOSTS = env("ALLOWED_HOSTS")
CSRF_TRUSTED_ORIGINS = env("CSRF_TRUSTED_ORIGINS")

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "servestatic.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_celery_beat",
    "ninja",
    "livermore",
    "livermore.web",
    "livermore.watch",
    "exchanges",
    "symbols",
    "candles",
    "candles.notify",
]
MIDDLEWARE = [
    "livermore.web.metering.RequestCount",
    "django.middleware.security.SecurityMiddleware",
    "servestatic.middleware.ServeStaticMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "livermore.web.security.ContentSecurityPolicy",
]
ROOT_URLCONF = "livermore.urls"
ASGI_APPLICATION = "livermore.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# ---- database ----------------------------------------------------------------------------------
DATABASES = {"default": env.db_url_config(env("DATABASE_URL") or f"sqlite:///{VAR_DIR / 'livermore.sqlite3'}")}
if "ENGINE" not in DATABASES["default"]:
    raise ImproperlyConfigured("DATABASE_URL cannot be read: write postgres://user:password@host:5432/name")
IS_SQLITE = DATABASES["default"]["ENGINE"].endswith("sqlite3")
if IS_SQLITE:
    # Writers of several processes queue up at BEGIN instead of failing half way.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
    VAR_DIR.mkdir(parents=True, exist_ok=True)
else:
    DATABASES["default"]["CONN_MAX_AGE"] = 60
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# ---- Redis -------------------------------------------------------------------------------------
CELERY_BROKER_URL = env("CELERY_BROKER_URL") or embedded.url(VAR_DIR, database=0)
STATE_REDIS_URL = env("STATE_REDIS_URL") or embedded.url(VAR_DIR, database=1)
PLAIN_STORES_ALLOWED = env("PLAIN_STORES_ALLOWED")
NEEDS_EMBEDDED_REDIS = not (env("CELERY_BROKER_URL") and env("STATE_REDIS_URL"))

# ---- Celery (design §9 gives the reason of each value) -----------------------------------------
# Besides each app's `tasks`.
CELERY_IMPORTS = ("symbols.errands", "candles.errands", "candles.upkeep")
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json", "msgpack"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_ACKS_ON_FAILURE_OR_TIMEOUT = True
CELERY_TASK_SOFT_TIME_LIMIT = 20
CELERY_TASK_TIME_LIMIT = 30
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_ROUTES = {
    "candles.sweep": {"queue": "candles"},
    "candles.close": {"queue": "candles"},
    "candles.canary": {"queue": "candles"},
    "candles.note_gap": {"queue": "candles"},
    "candles.indicators": {"queue": "candles"},
    "candles.intrabar": {"queue": "candles"},
    "signals.*": {"queue": "signals"},
    "notify.*": {"queue": "notify"},
}
# On Redis a message's visibility timeout begins when it is fetched; on RabbitMQ a solo worker that fetches one by one
# waits for the server most of its time. Worker io, whose tasks are long, says 1 itself.
CELERY_WORKER_PREFETCH_MULTIPLIER = 64 if CELERY_BROKER_URL.startswith("amqp") else 1
# Of a prefork pool's children; solo and threads have none and watch themselves (`livermore.celery`).
CELERY_WORKER_MAX_MEMORY_PER_CHILD = env("WORKER_MAX_MEMORY_MB") * 1024 or None
WORKER_MAX_MEMORY_MB = env("WORKER_MAX_MEMORY_MB")
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 10
CELERY_WORKER_ENABLE_SOFT_SHUTDOWN_ON_IDLE = True
CELERY_WORKER_SEND_TASK_EVENTS = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
VISIBILITY_TIMEOUT_S = env("BROKER_VISIBILITY_TIMEOUT_S")
if CELERY_BROKER_URL.startswith(("redis", "sentinel")):
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "visibility_timeout": VISIBILITY_TIMEOUT_S,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 2,
        "socket_keepalive": True,
        # One priority: one list per queue instead of four.
        "priority_steps": [0],
    }
CELERY_BEAT_SCHEDULER = "livermore.beat:LeasedScheduler"
CELERY_TIMEZONE = "UTC"

# ---- candles -----------------------------------------------------------------------------------
CANDLE_DAYS = env.json("CANDLE_DAYS", default=None)
if CANDLE_DAYS is None:
    CANDLE_DAYS = env.scheme["CANDLE_DAYS"][1]
SIGNAL_DAYS = env("SIGNAL_DAYS")

ALERT_RULES = env.json("ALERT_RULES", default={}) or {}

# ---- exchanges ---------------------------------------------------------------------------------
CANARY_EVERY_S = env("CANARY_EVERY_S")
SPOOL_MAX_MB = env("SPOOL_MAX_MB")
EXCHANGE_ENDPOINTS = env.json("EXCHANGE_ENDPOINTS", default={}) or endpoints.told(VAR_DIR)
VENUE_KEYS = env.json("VENUE_KEYS", default={}) or {}
LIVERMORE_REGION = env("LIVERMORE_REGION")
FLOWER_URL = env("FLOWER_URL")
METRICS_TOKEN = env("METRICS_TOKEN")
WEBHOOK_PRIVATE_NETWORKS = env("WEBHOOK_PRIVATE_NETWORKS")
API_CALLS_PER_MINUTE = env("API_CALLS_PER_MINUTE")
HEARTBEAT_URL = env("HEARTBEAT_URL")

# ---- web ---------------------------------------------------------------------------------------
LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "/static/"
STATIC_ROOT = VAR_DIR / "static"
# Served straight from the packages: no collect step before the first page.
SERVESTATIC_USE_FINDERS = True
LOGIN_URL = "/login/"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/login/"
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = IS_PRODUCTION
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

# ---- logs --------------------------------------------------------------------------------------
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "livermore.logs.LineFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env("LOG_LEVEL")},
    "loggers": {
        # A task's arrival and end are Flower's business; ours is one canonical line per unit of work.
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
        "celery.beat": {"level": "WARNING"},
        "django_celery_beat": {"level": "WARNING"},
        "uvicorn.access": {"level": "WARNING"},
    },
}
