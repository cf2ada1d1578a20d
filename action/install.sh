#!/usr/bin/env bash
# Installs the hallmark that action/pin names into RUNNER_TEMP and puts it on the PATH. The archive's digest is checked before
# anything of it is run; then hallmark checks that its own archive carries provenance by the release workflow of that version.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

fail() {
	echo "::error title=hallmark::$1"
	exit 1
}

# The value of a key of the pin; a line of any other form is nobody's.
pin() { sed -n "s/^$1 \([^ ]*\)\$/\1/p" "$here/pin"; }

version=$(pin version)
[[ $version =~ ^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9a-z.]+)?$ ]] ||
	fail "this commit of the action pins no hallmark (action/pin says version '$version'): use the commit of a release"
case "$(uname -s)-$(uname -m)" in
Linux-x86_64) platform=linux_amd64 ;;
Linux-aarch64) platform=linux_arm64 ;;
*) fail "the action runs on Linux, amd64 or arm64, and this is $(uname -s) $(uname -m)" ;;
esac
want=$(pin "$platform")
[[ $want =~ ^[0-9a-f]{64}$ ]] || fail "action/pin has no digest for $platform"

folder=$(mktemp -d "$RUNNER_TEMP/hallmark-XXXXXXXX")
cd "$folder"
archive=hallmark_${version#v}_$platform.tar.gz
for file in "$archive" "$archive.sigstore.json"; do
	curl --fail --silent --show-error --location --max-time 300 --retry 5 --retry-all-errors --output "$file" "$(pin url)/$version/$file" ||
		fail "fetching $file of hallmark $version"
done
# The digest decides, whoever answered.
got=$(sha256sum "$archive" | cut -d ' ' -f 1)
[[ $got == "$want" ]] || fail "$archive has digest $got, and $want is pinned"
mkdir bin
tar --extract --gzip --file "$archive" --directory bin --no-same-owner hallmark

root=$(pin trusted-root)
# In this folder no repository's policy is found.
bin/hallmark verify "$archive" --bundle "$archive.sigstore.json" ${root:+--trusted-root "$here/$root"} \
	--certificate-identity "$(pin identity)" --certificate-oidc-issuer "$(pin issuer)" ||
	fail "hallmark $version has the pinned digest, and its provenance does not verify"
echo "$folder/bin" >>"$GITHUB_PATH"
echo "hallmark $version, sha256:$want"
