#!/usr/bin/env bash
# sbom.sh FILE: writes the software bill of materials of requirements.txt, in CycloneDX JSON.
# test_sbom_lists_each_requirement validates it; --validate takes 20 s.
FARMLOKAL_TARGET=sbom
export FARMLOKAL_TARGET
# shellcheck source=dev/steps.sh
. "$(dirname "$0")/steps.sh"

# Reproducible: no timestamp and no serial number, so equal requirements give an equal file.
step sbom .venv/bin/cyclonedx-py requirements requirements.txt --pyproject pyproject.toml --output-reproducible \
    --spec-version 1.6 --no-validate --output-file "$1"
say "$1"
