"""Packaging: each top folder is a subpackage of the namespace `dragoman` (there is no bare `codecs` or `proxy` to import).

Everything is said here; pyproject.toml names the project and says so, since uv runs nothing without a [project] table.
"""

import pathlib

from setuptools import setup

HERE = pathlib.Path(__file__).parent
FOLDERS = ("codecs", "conf", "proxy", "handlers")
POSTGRES = ["psycopg[binary]>=3.2,<4"]
REDIS = ["redis>=5.1"]
ZSTD = ["zstandard>=0.23; python_version < '3.14'"]  # from then on the standard library has it
GCP = ["google-auth[requests]>=2.40"]
AZURE = ["azure-identity>=1.25"]
CONTROL = ["sqlalchemy[asyncio]>=2.0.36,<3", "alembic>=1.14,<2", "aiosqlite>=0.20", "authlib>=1.4,<2", *POSTGRES]
JWT = ["PyJWT[crypto]>=2.11,<3"]
AWS = ["botocore>=1.40"]
SEAL = ["cryptography>=44"]
OTEL = ["opentelemetry-sdk>=1.30,<2", "opentelemetry-exporter-otlp-proto-http>=1.30,<2"]


def packages() -> list[str]:
    """`dragoman.codecs`, `dragoman.codecs.chat`, …: every folder with an `__init__.py` below the four."""
    found = []
    for folder in FOLDERS:
        for init in sorted((HERE / folder).rglob("__init__.py")):
            found.append(".".join(("dragoman", *init.parent.relative_to(HERE).parts)))
    return found


setup(
    name="dragoman",
    version="0.1.0",
    description="A gateway for language-model APIs: any client shape to any model, live, event by event",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=packages(),
    package_dir={f"dragoman.{folder}": folder for folder in FOLDERS},
    package_data={
        "dragoman.codecs": ["py.typed"],
        "dragoman.conf": ["py.typed", "*.yaml", "examples/*.yaml"],
        "dragoman.proxy": ["py.typed"],
        "dragoman.handlers": ["py.typed", "inspector/*", "pages/*"],
    },
    install_requires=[
        "tornado>=6.6.1,<6.7",
        "orjson>=3.10",
        "PyYAML>=6",
        "marshmallow>=4,<5",
        "prometheus-client>=0.20",
    ],
    extras_require={
        "fast": ["uvloop>=0.21"],
        "postgres": POSTGRES,
        "redis": REDIS,
        "control": CONTROL,
        "otel": OTEL,
        "zstd": ZSTD,
        "gcp": GCP,
        "azure": AZURE,
        "jwt": JWT,
        "aws": AWS,
        "seal": SEAL,
        "test": [
            *POSTGRES,
            *REDIS,
            *CONTROL,
            *OTEL,
            *ZSTD,
            *GCP,
            *AZURE,
            *JWT,
            *AWS,
            *SEAL,
            "pytest>=9,<10",
            "pytest-tornado==0.8.1",
            "helm-python-sdk>=0.2.2,<0.3; sys_platform == 'linux' and platform_machine == 'x86_64'",  # renders docker/helm
            "kubernetes-validate>=1.30",
            "packaging",  # tests/conftest.py, in the place of what pytest-tornado asks of pkg_resources
            "setuptools>=77",  # test_packaging builds a wheel
            "pytest-httpserver>=1.1",
            "pytest-timeout>=2.3",
            "pytest-xdist>=3.6",
            "hypothesis>=6.100",
            "h11>=0.16",
            "wsproto>=1.2",  # with websockets a judge of the WebSocket's frames; the latter is openai's own, too
            "websockets>=15",
            "openai>=3",
            "anthropic>=2",
            "google-genai>=3",
            "httpx>=0.27",
        ],
    },
    entry_points={"console_scripts": ["dragoman = dragoman.proxy.cli:main"]},
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Framework :: AsyncIO",
        "Intended Audience :: Developers",
        "Intended Audience :: System Administrators",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Internet :: Proxy Servers",
        "Typing :: Typed",
    ],
)
