#!/usr/bin/env bash
# Holds signatures against other programs:  signatures.sh ASSEMBLE WORK
#
# What assemble signs, cosign 2.5 and 3.1 verify, and skopeo 1.18, 1.22 and podman enforce with the policy that assemble
# writes; what cosign and skopeo sign, assemble verifies; and everything that must be refused is refused by each of them.
# Peers run in chroots below WORK/peers (tests/peers.sh), against docker-registry and Sigstore on loopback. Needs root.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
assemble=$(realpath "${1:?usage: signatures.sh ASSEMBLE WORK}")
if [ "$(id -u)" != 0 ]; then
  echo 'skipped: the peers run in chroots, which need root' >&2
  [ "${CI:-}" != true ] || exit 1
  exit 0
fi
mkdir -p "${2:?usage: signatures.sh ASSEMBLE WORK}"
peers=$(realpath "$2")/peers
tests/peers.sh "$peers"
cargo build --quiet --locked --workspace --example sigstore
double=$(realpath "${CARGO_TARGET_DIR:-target}")/debug/examples/sigstore

# Everything of this run is below the directory that chroots have as /w.
run=$(mktemp -d "$peers/exchange/run.XXXXXX")
name=$(basename "$run")
started=()
finish() {
  status=$?
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  rm -rf "$run"
  exit $status
}
trap finish EXIT
cd "$run"
export HOME=$run COSIGN_PASSWORD=secret SOURCE_DATE_EPOCH=1700000000
unset SIGSTORE_ID_TOKEN

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat > registry.yml <<EOF
version: 0.1
log: { level: error, accesslog: { disabled: true } }
storage: { filesystem: { rootdirectory: $run/registry }, delete: { enabled: true } }
http: { addr: "127.0.0.1:$port" }
EOF
docker-registry serve registry.yml >registry.log 2>&1 &
started+=($!)
# It serves until this descriptor is closed.
mkfifo hold
"$double" . <hold >url &
started+=($!)
exec 9>hold
for _ in $(seq 100); do
  [ -s url ] && (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
  sleep 0.1
done
url=$(<url)
registry=127.0.0.1:$port

failures=0 checks=0
# What is to succeed, and what is to fail; the words are what it shows.
good() { check 0 "$@"; }
bad() { check 1 "$@"; }
check() {
  local expected=$1 words=$2 status=0
  shift 2
  checks=$((checks + 1))
  # Functions are no programs that timeout could run.
  timeout 60 bash -c '"$@"' check "$@" >out 2>&1 || status=$?
  [ $status -eq 0 ] || status=1
  if [ $status -ne "$expected" ]; then
    failures=$((failures + 1))
    echo "FAILED: $words: $*" >&2
    sed 's/^/  | /' out | tail -n 12 >&2
  fi
}
in_peer() {
  local suite=$1
  shift
  "$root/tests/peers.sh" "$peers" run "$suite" sh -c "cd $name && exec \"\$@\"" sh "$@"
}
cosign2() { in_peer trixie env SIGSTORE_ROOT_FILE=fulcio.pem SIGSTORE_REKOR_PUBLIC_KEY=rekor.pub SIGSTORE_CT_LOG_PUBLIC_KEY_FILE=ctfe.pub cosign "$@"; }
cosign3() { in_peer sid cosign "$@"; }
export -f in_peer cosign2 cosign3
export peers name root
plain=(--allow-insecure-registry --allow-http-registry)
# image REPOSITORY:TAG: a small image of its own.
image() {
  rm -rf layout
  umoci init --layout layout
  umoci new --image layout:one
  umoci config --image layout:one --config.label "name=$1" --created 2020-01-01T00:00:00Z
  skopeo copy --quiet --dest-tls-verify=false oci:layout:one "docker://$registry/$1"
  digest=$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$registry/$1")
}
at() { echo "docker://$registry/$1"; }

ours_sign() { "$assemble" --quiet sign --insecure "$@" >/dev/null; }
identity=https://gitlab.com/group/images//.gitlab-ci.yml@refs/heads/main
issuer=https://gitlab.com
email=(signer@example.com https://accounts.example.com)

in_peer trixie cosign generate-key-pair >/dev/null 2>&1
mkdir other && (cd other && in_peer trixie sh -c 'cd other && cosign generate-key-pair' >/dev/null 2>&1)

echo '-- keys'
image key:one
ours_sign --key cosign.key "$(at key:one)"
good 'assemble verifies its own' "$assemble" verify --insecure --key cosign.pub "$(at key:one)"
good 'cosign 2.5 verifies the legacy form' cosign2 verify "${plain[@]}" --key cosign.pub --insecure-ignore-tlog=true "$registry/key:one"
good 'cosign 3.1 verifies the bundle' cosign3 verify "${plain[@]}" --key cosign.pub --insecure-ignore-tlog=true "$registry/key:one"
good 'cosign 3.1 verifies the legacy form' cosign3 verify "${plain[@]}" --key cosign.pub --insecure-ignore-tlog=true --new-bundle-format=false "$registry/key:one"
for peer in cosign2 cosign3; do
  bad "$peer refuses another key" "$peer" verify "${plain[@]}" --key other/cosign.pub --insecure-ignore-tlog=true "$registry/key:one"
done
bad 'assemble refuses another key' "$assemble" verify --insecure --key other/cosign.pub "$(at key:one)"
bad 'assemble demands a log' "$assemble" verify --insecure --key cosign.pub --log --trust-root trusted_root.json "$(at key:one)"

echo '-- identities'
image keyless:one
cp cosign.key host.key
ours_sign --keyless --token gitlab.jwt --signing-config signing_config_v1.json --trust-root trusted_root.json --key host.key "$(at keyless:one)"
claims=(--certificate-identity "$identity" --certificate-oidc-issuer "$issuer")
wrong=(--certificate-identity "$identity-2" --certificate-oidc-issuer "$issuer")
good 'assemble verifies its own' "$assemble" verify --insecure --identity "$identity" --issuer "$issuer" --trust-root trusted_root.json "$(at keyless:one)"
bad 'assemble refuses another identity' "$assemble" verify --insecure --identity "$identity-2" --issuer "$issuer" --trust-root trusted_root.json "$(at keyless:one)"
bad 'assemble refuses other authorities' "$assemble" verify --insecure --identity "$identity" --issuer "$issuer" "$(at keyless:one)"
good 'cosign 2.5 verifies the legacy form' cosign2 verify "${plain[@]}" "${claims[@]}" "$registry/keyless:one"
bad 'cosign 2.5 refuses another identity' cosign2 verify "${plain[@]}" "${wrong[@]}" "$registry/keyless:one"
good 'cosign 3.1 verifies the bundle' cosign3 verify "${plain[@]}" "${claims[@]}" --trusted-root trusted_root.json "$registry/keyless:one"
good 'cosign 3.1 verifies the legacy form' cosign3 verify "${plain[@]}" "${claims[@]}" --trusted-root trusted_root.json --new-bundle-format=false "$registry/keyless:one"
bad 'cosign 3.1 refuses another identity' cosign3 verify "${plain[@]}" "${wrong[@]}" --trusted-root trusted_root.json "$registry/keyless:one"
good 'cosign 2.5 finds the host key beside it' cosign2 verify "${plain[@]}" --key cosign.pub --insecure-ignore-tlog=true "$registry/keyless:one"
image keyless:two
ours_sign --token gitlab.jwt --signing-config signing_config_v2.json --log-version 2 --format bundle --trust-root trusted_root.json "$(at keyless:two)"
good 'assemble verifies its own, second log' "$assemble" verify --insecure --identity "$identity" --issuer "$issuer" --trust-root trusted_root.json "$(at keyless:two)"
good 'cosign 3.1 verifies it, second log' cosign3 verify "${plain[@]}" "${claims[@]}" --trusted-root trusted_root.json --use-signed-timestamps "$registry/keyless:two"

echo '-- attestations'
image attested:one
echo '{"bomFormat":"CycloneDX","specVersion":"1.6","components":[]}' > sbom.json
ours_attest() { "$assemble" --quiet attest --insecure "$@" >/dev/null; }
ours_attest --key cosign.key --document sbom.json "$(at attested:one)"
good 'assemble verifies its own' "$assemble" verify --insecure --key cosign.pub --attestation https://cyclonedx.org/bom "$(at attested:one)"
good 'cosign 2.5 verifies the legacy form' cosign2 verify-attestation "${plain[@]}" --key cosign.pub --insecure-ignore-tlog=true --type cyclonedx "$registry/attested:one"
good 'cosign 3.1 verifies the bundle' cosign3 verify-attestation "${plain[@]}" --key cosign.pub --insecure-ignore-tlog=true --type cyclonedx "$registry/attested:one"
bad 'an attestation is no signature' "$assemble" verify --insecure --key cosign.pub "$(at attested:one)"
bad 'cosign 2.5 refuses another type' cosign2 verify-attestation "${plain[@]}" --key cosign.pub --insecure-ignore-tlog=true --type spdxjson "$registry/attested:one"
image attested:two
ours_attest --token gitlab.jwt --signing-config signing_config_v1.json --trust-root trusted_root.json --document sbom.json "$(at attested:two)"
good 'cosign 2.5 verifies a logged one' cosign2 verify-attestation "${plain[@]}" "${claims[@]}" --type cyclonedx "$registry/attested:two"
good 'cosign 3.1 verifies a logged one' cosign3 verify-attestation "${plain[@]}" "${claims[@]}" --trusted-root trusted_root.json --type cyclonedx "$registry/attested:two"

echo '-- hosts'
"$assemble" --quiet policy --trust "$registry/key=cosign.pub" --trust "$registry/keyless=cosign.pub" --trust "$registry/index=cosign.pub" \
  --accept "$registry/open" --output host >/dev/null 2>policy.log
good 'what is accepted unsigned is said' grep -q "warning: the policy accepts everything below $registry/open" policy.log
image key:unsigned
image open:one
image closed:one
mkdir -p pulled
# Each client has the policy at its place for as long as it runs.
host() {
  local suite=$1
  shift
  in_peer "$suite" sh -c '
    mkdir -p /etc/containers/registries.d /etc/pki/containers
    cp host/etc/containers/policy.json /etc/containers/policy.json
    cp host/etc/containers/registries.d/* /etc/containers/registries.d/
    cp host/etc/pki/containers/* /etc/pki/containers/
    rm -rf pulled/* && exec "$@"' sh "$@"
}
export -f host
for suite in trixie sid; do
  pull() { host "$1" skopeo copy --src-tls-verify=false "docker://$registry/$2" dir:pulled/image; }
  export -f pull
  export registry
  good "skopeo of $suite accepts what is signed" pull $suite key:one
  good "skopeo of $suite accepts the host key beside an identity" pull $suite keyless:one
  good "skopeo of $suite accepts an open scope" pull $suite open:one
  bad "skopeo of $suite refuses what is not signed" pull $suite key:unsigned
  bad "skopeo of $suite refuses a registry that no scope names" pull $suite closed:one
done
pod() { host sid podman --storage-driver vfs --root "/w/$name/storage" --runroot "/w/$name/runroot" pull --quiet --tls-verify=false "$registry/$1"; }
export -f pod
good 'podman accepts what is signed' pod key:one
bad 'podman refuses what is not signed' pod key:unsigned
bad 'podman refuses a registry that no scope names' pod closed:one

echo '-- indexes'
image index:amd
amd=$digest
image index:arm
arm=$digest
# Only the index is signed by the first one: hosts look at instances.
in_peer sid crane index append --insecure -m "$registry/index@$amd" -m "$registry/index@$arm" -t "$registry/index:alone" >/dev/null 2>&1
in_peer trixie cosign sign --yes "${plain[@]}" --key cosign.key --tlog-upload=false "$registry/index:alone" >/dev/null 2>&1
pull_instance() { host trixie skopeo copy --src-tls-verify=false "docker://$registry/index@$amd" dir:pulled/image; }
export -f pull_instance
export amd
bad 'skopeo refuses an instance of which only the index is signed' pull_instance
ours_sign --key cosign.key "$(at index:alone)"
good 'skopeo accepts an instance of an index that assemble signed' pull_instance
good 'cosign 2.5 verifies the index' cosign2 verify "${plain[@]}" --key cosign.pub --insecure-ignore-tlog=true "$registry/index:alone"

echo '-- what others sign'
image theirs:two
in_peer trixie cosign sign --yes "${plain[@]}" --key cosign.key --tlog-upload=false "$registry/theirs:two" >/dev/null 2>&1
good 'assemble verifies cosign 2.5 with a key' "$assemble" verify --insecure --key cosign.pub "$(at theirs:two)"
image theirs:three
in_peer sid sh -c 'cosign signing-config create --out empty.json' >/dev/null 2>&1
in_peer sid cosign sign --yes "${plain[@]}" --key cosign.key --signing-config empty.json "$registry/theirs:three" >/dev/null 2>&1
good 'assemble verifies cosign 3.1 with a key' "$assemble" verify --insecure --key cosign.pub "$(at theirs:three)"
bad 'assemble refuses another key of theirs' "$assemble" verify --insecure --key other/cosign.pub "$(at theirs:three)"
image theirs:attested
in_peer trixie cosign attest --yes "${plain[@]}" --key cosign.key --tlog-upload=false --type cyclonedx --predicate sbom.json "$registry/theirs:attested" >/dev/null 2>&1
good 'assemble verifies an attestation by cosign 2.5' "$assemble" verify --insecure --key cosign.pub --attestation https://cyclonedx.org/bom "$(at theirs:attested)"
bad 'assemble refuses another type of it' "$assemble" verify --insecure --key cosign.pub --attestation https://spdx.dev/Document "$(at theirs:attested)"
bad 'an attestation of theirs is no signature' "$assemble" verify --insecure --key cosign.pub "$(at theirs:attested)"
image theirs:bundled
in_peer sid cosign attest --yes "${plain[@]}" --key cosign.key --signing-config empty.json --type cyclonedx --predicate sbom.json "$registry/theirs:bundled" >/dev/null 2>&1
good 'assemble verifies an attestation by cosign 3.1' "$assemble" verify --insecure --key cosign.pub --attestation https://cyclonedx.org/bom "$(at theirs:bundled)"
bad 'assemble refuses it by another key' "$assemble" verify --insecure --key other/cosign.pub --attestation https://cyclonedx.org/bom "$(at theirs:bundled)"
bad 'a bundle of theirs with an attestation is no signature' "$assemble" verify --insecure --key cosign.pub "$(at theirs:bundled)"
image theirs:four
SIGSTORE_ID_TOKEN=$(<email.jwt) in_peer trixie env SIGSTORE_ROOT_FILE=fulcio.pem SIGSTORE_REKOR_PUBLIC_KEY=rekor.pub SIGSTORE_CT_LOG_PUBLIC_KEY_FILE=ctfe.pub \
  cosign sign --yes "${plain[@]}" --fulcio-url "$url" --rekor-url "$url" "$registry/theirs:four" >theirs.log 2>&1 || cat theirs.log >&2
good 'assemble verifies cosign 2.5 with an identity' "$assemble" verify --insecure --identity "${email[0]}" --issuer "${email[1]}" --trust-root trusted_root.json "$(at theirs:four)"
for version in 1 2; do
  image theirs:log$version
  SIGSTORE_ID_TOKEN=$(<email.jwt) in_peer sid cosign sign --yes "${plain[@]}" --signing-config signing_config_v$version.json --trusted-root trusted_root.json \
    "$registry/theirs:log$version" >theirs.log 2>&1 || cat theirs.log >&2
  good "assemble verifies cosign 3.1 with an identity, log $version" "$assemble" verify --insecure --identity "${email[0]}" --issuer "${email[1]}" --trust-root trusted_root.json "$(at theirs:log$version)"
  bad "assemble refuses another identity, log $version" "$assemble" verify --insecure --identity "x${email[0]}" --issuer "${email[1]}" --trust-root trusted_root.json "$(at theirs:log$version)"
done

echo '-- the wrong image'
# Signatures of one image under the tag of another.
image moved:one
from=${digest#sha256:}
ours_sign --key cosign.key "$(at moved:one)"
image moved:two
to=${digest#sha256:}
skopeo copy --quiet --src-tls-verify=false --dest-tls-verify=false "docker://$registry/moved:sha256-$from.sig" "docker://$registry/moved:sha256-$to.sig"
skopeo copy --quiet --all --src-tls-verify=false --dest-tls-verify=false "docker://$registry/moved:sha256-$from" "docker://$registry/moved:sha256-$to" || true
bad 'assemble refuses the signature of another image' "$assemble" verify --insecure --key cosign.pub "$(at moved:two)"
bad 'cosign 2.5 refuses the signature of another image' cosign2 verify "${plain[@]}" --key cosign.pub --insecure-ignore-tlog=true "$registry/moved:two"

echo "$checks checks, $failures failed"
[ "$failures" -eq 0 ]
