"""Every setting comes from the environment; docs/reference/settings.md lists them with their defaults.

With DATABASE_URL unset, `manage.py` fills the environment from the running embedded stack before this
module is imported. Where there is none, commands that need no database still work.
"""

from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured
from django.core.management.utils import get_random_secret_key

from pointsystem.observability.logs import logging_settings

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()

SECRET_KEY_LEAST_CHARACTERS = 32


def _required_beside_database(name: str, *, placeholder: str) -> str:
    """A URL that must be given as soon as DATABASE_URL is: no server that merely happens to run is used."""
    value = env.str(name, default="")
    if value or not HAS_DATABASE:
        return value or placeholder
    raise ImproperlyConfigured(f"{name} must be set when DATABASE_URL is. See docs/reference/settings.md.")


def _secret_key() -> str:
    key: str = env.str("SECRET_KEY", default="")
    if not key and not HAS_DATABASE:
        return get_random_secret_key()
    if len(key) < SECRET_KEY_LEAST_CHARACTERS:
        raise ImproperlyConfigured(
            f"SECRET_KEY must be set, to at least {SECRET_KEY_LEAST_CHARACTERS} random characters."
        )
    return key


def _database(name: str) -> dict[str, Any]:
    """A connection that is kept open, checked before reuse, and can never wait or run without an end."""
    database: dict[str, Any] = env.db_url(name)
    timeouts_milliseconds = {
        "lock_timeout": int(POINTS_LOCK_TIMEOUT_SECONDS * 1000),
        "statement_timeout": int(POINTS_STATEMENT_TIMEOUT_SECONDS * 1000),
        "idle_in_transaction_session_timeout": int(POINTS_IDLE_IN_TRANSACTION_TIMEOUT_SECONDS * 1000),
    }
    options = database.setdefault("OPTIONS", {})
    if "postgresql" in database["ENGINE"]:
        given = options.pop("options", "")
        timeouts = " ".join(f"-c {name}={value}" for name, value in timeouts_milliseconds.items())
        options["options"] = f"{timeouts} {given}".strip()
        options.setdefault("connect_timeout", 3)
        options["prepare_threshold"] = env.int("POINTS_PREPARE_THRESHOLD", default=5) or None
        if env.bool("POINTS_DB_POOL", default=False):
            options["pool"] = {
                "min_size": 1,
                "max_size": env.int("POINTS_DB_POOL_SIZE", default=8),
                "timeout": 2,
            }
    pooled = "pool" in options
    database["CONN_MAX_AGE"] = 0 if pooled else env.int("POINTS_DB_CONN_MAX_AGE_SECONDS", default=600)
    database["CONN_HEALTH_CHECKS"] = env.bool("POINTS_DB_HEALTH_CHECKS", default=True)
    return database


def legacy_database(url: str) -> dict[str, Any]:
    """A connection to the legacy at `url`, whose every call is bounded on its own server too."""
    database: dict[str, Any] = env.db_url_config(url)
    options = database.setdefault("OPTIONS", {})
    seconds = POINTS_LEGACY_TIMEOUT_SECONDS
    if "postgresql" in database["ENGINE"]:
        given = options.pop("options", "")
        milliseconds = int(seconds * 1000)
        timeouts = f"-c statement_timeout={milliseconds} -c lock_timeout={milliseconds // 2}"
        # A server that finds us gone ends what we asked for, instead of doing it for nobody.
        options["options"] = f"{timeouts} -c client_connection_check_interval=1000 {given}".strip()
        options.setdefault("connect_timeout", 3)
        # What is sent must not depend on how often: procedures are chosen by the types that come.
        options["prepare_threshold"] = None
    elif "mysql" in database["ENGINE"]:
        import pymysql

        # Django asks for mysqlclient, which needs a compiler; this driver answers in its place.
        pymysql.install_as_MySQLdb()
        options.setdefault("charset", "utf8mb4")
        options.setdefault("connect_timeout", 3)
        options.setdefault("read_timeout", max(1, round(seconds + 1)))
        options.setdefault("write_timeout", max(1, round(seconds + 1)))
        options.setdefault("isolation_level", "read committed")
        options.setdefault(
            "init_command",
            f"SET SESSION innodb_lock_wait_timeout = {max(1, round(seconds / 2))},"
            f" max_statement_time = {seconds:.3f}",
        )
    # `legacy_bridge.sessions` looks after its connections: a check before every call costs a round trip.
    database["CONN_MAX_AGE"] = None
    database["CONN_HEALTH_CHECKS"] = False
    return database


# --- What this process is -------------------------------------------------------------------------------
HAS_DATABASE = bool(env.str("DATABASE_URL", default=""))
POINTS_STACK = env.str("POINTS_STACK", default="")
ON_OWN_MACHINE = POINTS_STACK in ("embedded", "test")
SECRET_KEY = _secret_key()
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])
DEBUG = env.bool("DEBUG", default=False)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["127.0.0.1", "localhost", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

# --- The points -----------------------------------------------------------------------------------------
POINTS_TIME_ZONE = env.str("POINTS_TIME_ZONE", default="Asia/Seoul")
POINTS_CLOCK = env.str("POINTS_CLOCK", default="system")
POINTS_EXPIRING_SOON_DAYS = env.int("POINTS_EXPIRING_SOON_DAYS", default=30)
POINTS_DATA_DIR = env.str("POINTS_DATA_DIR", default="")
# What support moves above this many points, a second person approves.
POINTS_APPROVAL_LIMIT = env.int("POINTS_APPROVAL_LIMIT", default=100_000)
# Whether a step forward of the cutover needs another person's approval; its end always does.
POINTS_CUTOVER_SECOND_PERSON = env.bool("POINTS_CUTOVER_SECOND_PERSON", default=False)
POINTS_LOCK_TIMEOUT_SECONDS = env.float("POINTS_LOCK_TIMEOUT_SECONDS", default=2.0)
POINTS_STATEMENT_TIMEOUT_SECONDS = env.float("POINTS_STATEMENT_TIMEOUT_SECONDS", default=10.0)
POINTS_IDLE_IN_TRANSACTION_TIMEOUT_SECONDS = env.float(
    "POINTS_IDLE_IN_TRANSACTION_TIMEOUT_SECONDS", default=15.0
)
# The legacy: the dotted path of its adapter, the time zone of its clock, the longest that a call may take,
# and how many of this process may be under way (one thread of the web server stays free for others).
LEGACY_ADAPTER = env.str("LEGACY_ADAPTER", default="legacy_bridge.reference.ReferenceAdapter")
POINTS_LEGACY_TIME_ZONE = env.str("POINTS_LEGACY_TIME_ZONE", default=POINTS_TIME_ZONE)
POINTS_LEGACY_TIMEOUT_SECONDS = env.float("POINTS_LEGACY_TIMEOUT_SECONDS", default=5.0)
POINTS_LEGACY_MOST_CALLS = env.int("POINTS_LEGACY_MOST_CALLS", default=3)
# The share of balances read that are compared on both sides, while both are kept in step.
POINTS_SHADOW_SAMPLE = env.float("POINTS_SHADOW_SAMPLE", default=0.01)
METRICS_TOKEN = env.str("METRICS_TOKEN", default="")
# A client whose body has not come after this long loses its connection.
POINTS_BODY_TIMEOUT_SECONDS = env.float("POINTS_BODY_TIMEOUT_SECONDS", default=25.0)

# Without it, `legacy_bridge` and `cutover` are not installed: the ledger by itself.
POINTS_CUTOVER = env.bool("POINTS_CUTOVER", default=True)

# --- Applications and requests --------------------------------------------------------------------------
INSTALLED_APPS = [
    "pointsystem.backoffice.apps.BackOfficeAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "axes",
    "csp",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "rest_framework",
    "drf_spectacular_sidecar",
    "ledger",
    *(["legacy_bridge", "cutover"] if POINTS_CUTOVER else []),
    # After all whose permissions its roles name.
    "pointsystem.backoffice.apps.BackOfficeConfig",
    "pointsystem",
]
# Who answers: the ledger itself, or whoever decides in the stage that is set (docs/adr/0022-one-door.md).
HAS_LEGACY = POINTS_CUTOVER and bool(env.str("LEGACY_DATABASE_URL", default=""))
POINTS_FACE = "cutover.face" if HAS_LEGACY else "ledger.face"
MIDDLEWARE = [
    "pointsystem.middleware.RequestIds",
    "django.middleware.security.SecurityMiddleware",
    "pointsystem.middleware.StaticFiles",
    "pointsystem.middleware.Sessions",
    "django.middleware.common.CommonMiddleware",
    "pointsystem.middleware.Csrf",
    "pointsystem.middleware.Authentication",
    "pointsystem.middleware.SecondFactor",
    "pointsystem.middleware.Messages",
    "pointsystem.middleware.Locale",
    "pointsystem.middleware.ProgrammeTime",
    "pointsystem.backoffice.sign_in.sessions.SessionLimits",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "pointsystem.middleware.ContentSecurityPolicy",
    "pointsystem.middleware.LoginLockout",
    "pointsystem.middleware.WithoutNul",
]
# Both look for the exact name of a class in MIDDLEWARE, and do not know its subclass.
SILENCED_SYSTEM_CHECKS = ["security.W003", "axes.W002"]
ROOT_URLCONF = "pointsystem.urls"
WSGI_APPLICATION = "pointsystem.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# --- Storage --------------------------------------------------------------------------------------------
DATABASES: dict[str, dict[str, Any]] = {"default": {"ENGINE": "django.db.backends.dummy"}}
if HAS_DATABASE:
    DATABASES["default"] = _database("DATABASE_URL")
if env.str("LEGACY_DATABASE_URL", default=""):
    DATABASES["legacy"] = legacy_database(env.str("LEGACY_DATABASE_URL"))
# The role that owns the tables and migrates. The role of DATABASE_URL can then change no posted row.
MIGRATE_DATABASE_URL = env.str("MIGRATE_DATABASE_URL", default="")

REDIS_URL = _required_beside_database("REDIS_URL", placeholder="redis://127.0.0.1:1/0")
POINTS_REDIS_TIMEOUT_SECONDS = env.float("POINTS_REDIS_TIMEOUT_SECONDS", default=0.1)
CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": REDIS_URL,
        "OPTIONS": {
            # A hung Redis must cost a request no more than this; redis-py retries by default, so not here.
            "SOCKET_CONNECT_TIMEOUT": POINTS_REDIS_TIMEOUT_SECONDS,
            "SOCKET_TIMEOUT": POINTS_REDIS_TIMEOUT_SECONDS,
            "CONNECTION_POOL_KWARGS": {"retry": None, "retry_on_timeout": False},
        },
    },
}

# --- Celery ---------------------------------------------------------------------------------------------
CELERY_BROKER_URL = _required_beside_database("CELERY_BROKER_URL", placeholder="redis://127.0.0.1:1/1")
# A worker keeps its database connection for this many tasks; without it every task opens one of its own.
CELERY_DB_REUSE_MAX = env.int("CELERY_DB_REUSE_MAX", default=1000)

# --- Language and time ----------------------------------------------------------------------------------
LANGUAGE_CODE = env.str("LANGUAGE_CODE", default="en")
LANGUAGES = [("en", "English"), ("ko", "한국어")]
LOCALE_PATHS = [BASE_DIR / "pointsystem" / "locale"]
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"
FORMAT_MODULE_PATH = "pointsystem.formats"

# --- Static files ---------------------------------------------------------------------------------------
STATIC_URL = "/static/"
# Where `collectstatic` was told to put the files. Unset, they are served out of the packages: one step less.
STATIC_ROOT = env.str("STATIC_ROOT", default="") or None
WHITENOISE_USE_FINDERS = STATIC_ROOT is None
WHITENOISE_AUTOREFRESH = False
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}

# --- Sign-in and browsers -------------------------------------------------------------------------------
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = 0.25  # hours
# A locked login opens when its page says so, however often it is tried meanwhile.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
# The address of the connection itself: a header that a client can write must not reset the lockout.
AXES_CLIENT_IP_CALLABLE = "pointsystem.middleware.client_address"
AXES_VERBOSE = False
# What it keeps is shown, and ended, on the page of the person.
AXES_ENABLE_ADMIN = False
AXES_LOCKOUT_CALLABLE = "pointsystem.backoffice.sign_in.views.locked_out"
# The second factor is asked of whoever has set one up; with this, of all staff.
POINTS_REQUIRE_TOTP = env.bool("POINTS_REQUIRE_TOTP", default=False)
OTP_TOTP_ISSUER = "Points back office"
POINTS_SESSION_IDLE_SECONDS = env.int("POINTS_SESSION_IDLE_SECONDS", default=30 * 60)
POINTS_SESSION_LIFETIME_SECONDS = env.int("POINTS_SESSION_LIFETIME_SECONDS", default=12 * 60 * 60)
SESSION_COOKIE_AGE = POINTS_SESSION_LIFETIME_SECONDS
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_HTTPONLY = True
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    },
}

# Behind a proxy that ends TLS everything is HTTPS; on one's own machine there is no certificate.
POINTS_HTTPS = env.bool("POINTS_HTTPS", default=not ON_OWN_MACHINE and not DEBUG)
SECURE_SSL_REDIRECT = POINTS_HTTPS
# Probes and scrapes come from inside, past the proxy.
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
SECURE_HSTS_SECONDS = 31_536_000 if POINTS_HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = POINTS_HTTPS
SECURE_HSTS_PRELOAD = POINTS_HTTPS
SESSION_COOKIE_SECURE = POINTS_HTTPS
CSRF_COOKIE_SECURE = POINTS_HTTPS
if env.bool("POINTS_TRUST_PROXY_SCHEME", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# A batch of 1,000 operations is the largest body there is.
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024

# --- REST framework -------------------------------------------------------------------------------------
# The API brings its own parsing, keys and rendering (docs/adr/0008-lean-views.md). These are for whoever puts
# an ordinary view of REST framework beside it: closed until it says who may come in.
REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "UNAUTHENTICATED_USER": None,
}

# --- Logs -----------------------------------------------------------------------------------------------
LOG_LEVEL = env.str("LOG_LEVEL", default="INFO").upper()
LOG_FORMAT = env.str("LOG_FORMAT", default="json")
LOGGING = logging_settings(level=LOG_LEVEL, as_json=LOG_FORMAT == "json")
