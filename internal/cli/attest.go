package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/image"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/provenance"
	"github.com/hallmark-sh/hallmark/internal/verify"
)

// attestAnswer is the stable JSON answer of hallmark attest; its schema is
// docs/schemas/attest-v1.schema.json.
type attestAnswer struct {
	Schema   string            `json:"schema"`
	Identity string            `json:"identity"`
	Issuer   string            `json:"issuer"`
	Source   sourceAnswer      `json:"source"`
	Files    map[string]string `json:"files"`
	Bundles  []string          `json:"bundles"`
}

type attestFlags struct {
	from     string
	identity identityFlags
}

func (a *app) attestCommand() *cobra.Command {
	var f attestFlags
	cmd := &cobra.Command{
		Use:   "attest FILE...",
		Short: "Sign the provenance of files that this workflow run made",
		Long: `attest signs one SLSA provenance about all the files, by the identity of the
workflow run it is in, and writes it beside each as FILE.sigstore.json. Every field
is from the run's identity token. It verifies what it made before it says yes.

It is for archives and packages; an image gets its provenance from release. Outside
of a workflow run there is no builder to name, and attest refuses.`,
		Example: `  hallmark attest dist/*.tar.gz
  hallmark attest dist/*.tar.gz --from https://github.com/acme/app@COMMIT
  hallmark verify app.tar.gz --bundle app.tar.gz.sigstore.json \
      --certificate-identity https://github.com/acme/app/.github/workflows/publish.yml@refs/tags/v1 \
      --certificate-oidc-issuer https://token.actions.githubusercontent.com`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.attest(cmd.Context(), args, f) },
	}
	cmd.Flags().StringVar(&f.from, "from", "", "take the policy from this `repository@commit` instead of a working tree")
	f.identity.bind(cmd.Flags())
	return cmd
}

func (a *app) attest(ctx context.Context, files []string, f attestFlags) error {
	answer := attestAnswer{Schema: "hallmark.attest/v1", Files: map[string]string{}}
	statement := evidence.Statement{Type: evidence.StatementType, PredicateType: evidence.Provenance}
	for _, file := range files {
		digest, err := digestOf(file)
		if err != nil {
			return err
		}
		answer.Files[file] = digest.String()
		statement.Subject = append(statement.Subject, evidence.Subject{Name: filepath.Base(file), Digest: map[string]string{digest.Algorithm: digest.Hex}})
	}
	from, err := a.openOrigin(ctx, ".", f.from)
	if err != nil {
		return err
	}
	defer from.close()
	if from.fetched == "" {
		// The local trust may make its folder there, which is not the source's.
		if err := makeState(stateDir(from.policy)); err != nil {
			return err
		}
	}
	rooms, err := a.openRooms(ctx, from.policy, from.source, f.identity)
	if err != nil {
		return err
	}
	defer rooms.close()
	claims, err := rooms.signer.Claims(ctx)
	if err != nil {
		return fmt.Errorf("obtaining an identity to sign with: %w", err)
	}
	if !claims.IsWorkflow() {
		err := fmt.Errorf("%s is not a workflow run, and nothing could vouch for what it says of a build", claims.Identity())
		return hint.Add(err, "run it in a GitHub Actions job with the permission id-token: write")
	}
	answer.Identity, answer.Issuer = claims.Identity(), claims.Issuer
	answer.Source = sourceAnswer{from.source.Remote, from.source.Commit, claims.Ref, from.source.Dirty}
	first, err := v1.NewHash(answer.Files[files[0]])
	if err != nil {
		return err
	}
	if statement.Predicate, err = provenance.Predicate(from.source, image.Built{Digest: first}, claims); err != nil {
		return err
	}
	signed, err := rooms.signer.Sign(ctx, []evidence.Statement{statement})
	if err != nil {
		return err
	}
	if err := a.writeAttestations(ctx, rooms, &answer, files, signed[0].Bundle); err != nil {
		return err
	}
	return a.answerAttest(files, answer)
}

// writeAttestations judges the bundle about every file, as anybody will, and
// only then writes it.
func (a *app) writeAttestations(ctx context.Context, r *rooms, answer *attestAnswer, files []string, bundle []byte) error {
	anchor, err := r.anchor(ctx)
	if err != nil {
		return fmt.Errorf("loading the trust root: %w", err)
	}
	by := verify.BlobOptions{Identity: policy.Identity{Issuer: answer.Issuer, Subject: answer.Identity}, Anchor: anchor, Now: time.Now()}
	for _, path := range files {
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		judged, err := verify.Blob(ctx, path, file, bundle, by)
		file.Close()
		if err != nil {
			return err
		}
		if !judged.Passed() {
			a.printVerdict(judged)
			return fmt.Errorf("the provenance of %s does not verify; nothing was written", path)
		}
	}
	for _, path := range files {
		to := path + ".sigstore.json"
		if err := replaceFile(to, append(bytes.Clone(bundle), '\n')); err != nil {
			return fmt.Errorf("writing the provenance of %s: %w", path, err)
		}
		answer.Bundles = append(answer.Bundles, to)
	}
	return nil
}

func (a *app) answerAttest(files []string, answer attestAnswer) error {
	if a.flags.json {
		return a.screen.json(answer)
	}
	a.screen.printf("%s  by %s\n", a.screen.out(green, "ATTESTED"), clean(answer.Identity))
	for _, file := range files {
		a.screen.printf("  %s  %s\n", answer.Files[file], clean(file))
	}
	a.screen.printf("\nnext: hallmark verify %s --bundle %s \\\n    --certificate-identity %s --certificate-oidc-issuer %s\n",
		clean(files[0]), clean(answer.Bundles[0]), clean(answer.Identity), clean(answer.Issuer))
	return nil
}

// digestOf reads a regular file to its end.
func digestOf(path string) (v1.Hash, error) {
	file, err := os.Open(path)
	if err != nil {
		return v1.Hash{}, err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return v1.Hash{}, errors.Join(fmt.Errorf("%s is not a file", path), err)
	}
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return v1.Hash{}, fmt.Errorf("reading %s: %w", path, err)
	}
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}, nil
}
