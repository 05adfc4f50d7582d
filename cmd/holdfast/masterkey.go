package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"

	"holdfast"
	"holdfast/store"
	"holdfast/vault/keys"
)

// listHook lets a list be given in one line of text, for flags and the
// environment, as JSON. Other text is a list of one.
func listHook(_, to reflect.Type, value any) (any, error) {
	text, ok := value.(string)
	if !ok || to != reflect.TypeFor[[]string]() {
		return value, nil
	}
	list := []string{}
	if strings.HasPrefix(text, "[") {
		err := json.Unmarshal([]byte(text), &list)
		return list, err
	}
	if text != "" {
		list = append(list, text)
	}
	return list, nil
}

// readMasterKey gets the master key from where the configuration says. The
// command gets no setting of ours: among them may be other secrets.
func (c *config) readMasterKey(ctx context.Context) (keys.MasterKey, error) {
	if len(c.MasterKeyCommand) > 0 {
		return runMasterKey(ctx, c.MasterKeyCommand)
	}
	return keys.LoadMasterKey(c.MasterKey)
}

func runMasterKey(ctx context.Context, argv []string) (keys.MasterKey, error) {
	environ := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		return strings.HasPrefix(kv, "HOLDFAST_") || strings.HasPrefix(kv, "PGPASS") // a file's name, or worse
	})
	return keys.RunMasterKey(ctx, argv, environ)
}

// masterPlace names where the master key comes from.
func (c *config) masterPlace() string {
	if len(c.MasterKeyCommand) > 0 {
		return "the key of master_key_command " + c.MasterKeyCommand[0]
	}
	return c.MasterKey
}

// masterKey loads the key that wraps all others, and proves it by the check
// value in the database: during a rotation, by that of either key. A first start
// notes the value, and makes the key if it is to lie in a file; a missing key
// later is refused, for a new one would open nothing.
func masterKey(ctx context.Context, c config, st *store.Store, create bool, log *slog.Logger) (keys.MasterKey, error) {
	current, next, err := masterChecks(ctx, st)
	if err != nil {
		return keys.MasterKey{}, fmt.Errorf("master key: %w", err)
	}
	key, err := c.readMasterKey(ctx)
	missing := errors.Is(err, fs.ErrNotExist) && len(c.MasterKeyCommand) == 0
	switch {
	case err == nil && current != "":
		if verr := key.Verify(current); verr != nil && (next == "" || key.Verify(next) != nil) {
			return key, fmt.Errorf("%s is not the master key of this service: put back the copy that was made at the first start: %w", c.masterPlace(), verr)
		}
		return key, nil
	case missing && current == "" && create:
		if key, err = keys.CreateMasterKey(c.MasterKey); err != nil {
			return key, fmt.Errorf("master key: %w", err)
		}
		log.WarnContext(ctx, "COPY THE MASTER KEY to a place outside this machine now: without it no backup can ever be read again", "file", c.MasterKey)
	case missing:
		return key, fmt.Errorf("the master key %s is missing: put back the copy that was made at the first start: %w", c.MasterKey, err)
	case err != nil:
		return key, fmt.Errorf("master key: %w", err)
	}
	return key, st.Tx(ctx, func(tx *store.Tx) error {
		noted, err := tx.Meta(ctx, store.MetaKeyCheck)
		if err == nil && len(noted) > 0 && key.Verify(string(noted)) != nil {
			return errors.New("another service has begun on this database with another master key: copy its key to " + c.masterPlace())
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		return tx.PutMeta(ctx, store.MetaKeyCheck, []byte(key.Check()))
	})
}

// masterChecks are the check values of the master key in force and of the one
// that a rotation brings; "" for none.
func masterChecks(ctx context.Context, st *store.Store) (current, next string, err error) {
	for name, to := range map[string]*string{store.MetaKeyCheck: &current, store.MetaKeyNext: &next} {
		value, err := st.Meta(ctx, name)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return "", "", err
		}
		*to = string(value)
	}
	return current, next, nil
}

// checkMasterKey says what is wrong with the two settings, before defaults.
func (c *config) checkMasterKey() []holdfast.Field {
	given, _ := c.values["master_key"].(string)
	if len(c.MasterKeyCommand) > 0 && given != "" {
		return []holdfast.Field{{Pointer: "master_key_command", Detail: "must not be set beside master_key", Code: holdfast.CodeInvalidValue}}
	}
	return nil
}
