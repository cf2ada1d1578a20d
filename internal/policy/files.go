package policy

// Files lists the files that the policy names beside itself, as it writes them:
// OpenVEX documents and what a private trust root is read from. Without them
// the policy cannot be applied elsewhere. The advisories are not among them:
// they may be a folder, and are fetched or kept by their own rules.
func (p Policy) Files() []string {
	var files []string
	files = append(files, p.Gate.VEX...)
	for _, file := range []string{p.Trust.TrustedRoot, p.Trust.SigningConfig, p.Trust.TUFRoot} {
		if file != "" {
			files = append(files, file)
		}
	}
	return files
}
