package source

import (
	"net/url"
	"path"
	"strings"
)

// normalizeRemote gives the address of a git remote in the one form that can
// be compared and published: https where the remote speaks ssh, git or https,
// no user, password or token, no .git ending, host in lower case. http stays
// http and local repositories become file:// addresses. A remote helper's
// private form (such as ext::) gives an empty string: it names no place.
func normalizeRemote(raw string) string {
	raw = strings.TrimSpace(raw)
	if raw == "" {
		return ""
	}
	if !strings.Contains(raw, "://") {
		return normalizePlain(raw)
	}
	u, err := url.Parse(raw)
	if err != nil {
		// The address may hold a token; a form that cannot be read safely is
		// not shown at all.
		return ""
	}
	host := strings.ToLower(u.Host)
	switch strings.ToLower(u.Scheme) {
	case "https":
		return join("https", strings.TrimSuffix(host, ":443"), u.Path)
	case "http":
		return join("http", strings.TrimSuffix(host, ":80"), u.Path)
	case "ssh", "git", "git+ssh", "ssh+git":
		// The port is the ssh daemon's or git daemon's, never the web's.
		return join("https", strings.TrimSuffix(host, ":"+u.Port()), u.Path)
	case "file":
		return local(u.Path)
	}
	return ""
}

// normalizePlain reads the two forms without a scheme: user@host:path as scp
// writes it, and a path on this machine.
func normalizePlain(raw string) string {
	colon := strings.IndexByte(raw, ':')
	slash := strings.IndexByte(raw, '/')
	if colon > 0 && (slash < 0 || colon < slash) {
		host, repo := raw[:colon], raw[colon+1:]
		// A second colon is a remote helper's form; an @ behind the host means
		// that what looks like the host was a user with a password.
		if strings.HasPrefix(repo, ":") || strings.Contains(repo, "@") {
			return ""
		}
		if at := strings.LastIndexByte(host, '@'); at >= 0 {
			host = host[at+1:]
		}
		return join("https", strings.ToLower(host), repo)
	}
	if strings.HasPrefix(raw, "/") {
		return local(raw)
	}
	return ""
}

// local is the address of a repository on this machine.
func local(dir string) string {
	u := url.URL{Scheme: "file", Path: path.Clean("/" + dir)}
	return u.String()
}

// join gives an address, or an empty string when host or repository are missing
// or could not stand in a URL.
func join(scheme, host, repo string) string {
	repo = path.Clean("/" + repo)
	for strings.HasSuffix(repo, ".git") {
		repo = strings.TrimSuffix(strings.TrimSuffix(repo, ".git"), "/")
	}
	u := url.URL{Scheme: scheme, Host: host, Path: repo}
	parsed, err := url.Parse(u.String())
	if err != nil || host == "" || strings.Trim(repo, "/") == "" || parsed.Host != host || parsed.User != nil {
		return ""
	}
	return u.String()
}
