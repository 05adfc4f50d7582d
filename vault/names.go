package vault

import (
	"fmt"
	"strings"

	"holdfast/vault/blob"
	"holdfast/vault/manifest"
	"holdfast/vault/pack"
)

// Where things lie in a vault. pack.Prefix, index.Prefix and manifest.Prefix are the others.
const (
	paramsName    = "vault.json"
	keysPrefix    = "keys/"
	sessionPrefix = "sessions/"
	tombPrefix    = "tombstones/"
	tombBackup    = tombPrefix + "backup-"
	tombSession   = tombPrefix + "session-"
	tombPlan      = tombPrefix + "plan-"
	noticePrefix  = "notices/"
	planPrefix    = "plans/"
	// Collectors write packs and segments below this and a plan's number. No writer
	// may use such a session.
	collectSession = "collect-"
)

// CheckID refuses, with ErrID, what cannot name a backup or a session.
func CheckID(id string) error {
	if len(id) > pack.MaxSession || strings.ContainsRune(id, '/') || blob.CheckName(id) != nil {
		return fmt.Errorf("%w: %q", ErrID, id)
	}
	return nil
}

func manifestName(backup string) string { return manifest.Prefix + backup }
