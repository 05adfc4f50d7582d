package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"

	"holdfast"
	"holdfast/control"
)

// config is what is in force: defaults, then the file, then HOLDFAST_… in the
// environment, then flags.
type config struct {
	Data      string `koanf:"data"`       // everything the service keeps, unless named below
	Listen    string `koanf:"listen"`     // host:port of the HTTP API
	Database  string `koanf:"database"`   // file of the database, or postgres://… without a password
	MasterKey string `koanf:"master_key"` // file of the master key
	// MasterKeyCommand is a program and its arguments that print the master key,
	// instead of its file.
	MasterKeyCommand []string `koanf:"master_key_command"`
	// DatabaseBackupRetention is how long backups of the database are kept, for
	// certificates; 0: nobody said.
	DatabaseBackupRetention time.Duration `koanf:"database_backup_retention"`

	Site     string `koanf:"site"`      // of the vaults: a directory or s3://bucket/prefix
	DocsBase string `koanf:"docs_base"` // URL before /errors/<code> in problems
	Log      struct {
		Level  string `koanf:"level"`  // debug, info, warn, error
		Format string `koanf:"format"` // text, json
	} `koanf:"log"`
	Operations struct {
		Lease       time.Duration `koanf:"lease"`
		Concurrency int           `koanf:"concurrency"`
	} `koanf:"operations"`
	Rate struct {
		PerMinute int `koanf:"per_minute"`
		Burst     int `koanf:"burst"`
	} `koanf:"rate"`
	Payg struct {
		MinStorageGb int `koanf:"min_storage_gb"`
	} `koanf:"payg"`
	Host struct {
		Name         string `koanf:"name"`
		Region       string `koanf:"region"`
		Driver       string `koanf:"driver"`      // qemu, sim
		Accelerator  string `koanf:"accelerator"` // tcg, kvm; never guessed
		Machines     string `koanf:"machines"`    // directory of the machines' disks
		Run          string `koanf:"run"`         // directory of sockets; a short path
		Scratch      string `koanf:"scratch"`     // directory of copy-before-write scratch
		ScratchLimit int64  `koanf:"scratch_limit_mib"`
		// HostScratchLimit is that of all VPSs together; 0: none. ScratchReserve stays free.
		HostScratchLimit int64 `koanf:"host_scratch_limit_mib"`
		ScratchReserve   int64 `koanf:"scratch_reserve_mib"`
		// ScratchRetry is how a backup whose scratch was exhausted is tried once more.
		ScratchRetry struct {
			WriteBytes int64 `koanf:"guest_write_bytes_per_second"` // of the VPS meanwhile; 0: it is not
		} `koanf:"scratch_retry"`
		// BackupBytes limits the reading of a VPS's disks, per second and backup; 0: no limit.
		BackupBytes int64 `koanf:"backup_bytes_per_second"`
		// WriteLatency is how long a VPS's writes may take before its backup waits; 0: no limit.
		WriteLatency time.Duration `koanf:"write_latency_limit"`
		Freeze       bool          `koanf:"freeze"`     // the file systems of guests with an agent
		FirstPort    int           `koanf:"first_port"` // ports forwarded to guests
		LastPort     int           `koanf:"last_port"`
		User         string        `koanf:"user"` // user that QEMU runs as; "" for the service's own
	} `koanf:"host"`
	Backup struct {
		// Sample is the share of a disk that an incremental backup reads to prove its
		// change tracking, 0 to 1; 0: nothing.
		Sample float64 `koanf:"sample"`
	} `koanf:"backup"`
	Vault struct {
		// BytesPerSecond limits what is written to the site; 0: no limit.
		BytesPerSecond int64 `koanf:"bytes_per_second"`
		// RequestsPerSecond limits the calls to the site; 0: no limit.
		RequestsPerSecond int `koanf:"requests_per_second"`
		// CollectAfter is how long after a deletion its space is collected; 0: only by
		// `vault collect`.
		CollectAfter time.Duration `koanf:"collect_after"`
	} `koanf:"vault"`
	Restore struct {
		// UndoFor is how long the disks from before a restore in place are kept.
		UndoFor time.Duration `koanf:"undo_for"`
		// Grace is how long a guest may take to power off before a restore in place.
		Grace time.Duration `koanf:"grace"`
	} `koanf:"restore"`
	Snapshot snapshotConfig `koanf:"snapshot"`
	S3       s3Config       `koanf:"s3"`
	// Copies are the further places of every backup.
	Copies []copyConfig `koanf:"copies"`

	values map[string]any // as they were given, by name
}

var configDefaults = map[string]any{
	"data": "/var/lib/holdfast", "listen": "127.0.0.1:8480", "log.level": "info", "log.format": "text",
	"operations.lease": "30s", "operations.concurrency": 2, "rate.per_minute": 1200, "rate.burst": 200,
	"payg.min_storage_gb": holdfast.DefaultPaygRange.MinStorageGb,
	"host.name":           "local", "host.region": "local", "host.driver": "qemu", "host.scratch_limit_mib": 10240, "host.host_scratch_limit_mib": 0, "host.scratch_reserve_mib": 64, "host.scratch_retry.guest_write_bytes_per_second": 0, "host.freeze": true, "host.backup_bytes_per_second": 0, "host.write_latency_limit": "1s",
	"host.first_port": 20000, "host.last_port": 29999, "host.user": "", "host.accelerator": "",
	"database": "", "database_backup_retention": "0s", "master_key": "", "master_key_command": "", "site": "", "docs_base": "", "host.machines": "", "host.run": "", "host.scratch": "",
	"vault.bytes_per_second": 0, "vault.requests_per_second": 0, "vault.collect_after": "1m", "copies": "", "backup.sample": 0.001,
	"snapshot.limit": 8, "snapshot.lifetime": "24h", "restore.undo_for": "24h", "restore.grace": "60s",
	"s3.endpoint": "", "s3.region": "us-east-1", "s3.credentials": "", "s3.ca": "", "s3.path_style": false, "s3.versions": false,
	"s3.lock": "0s", "s3.lock_mode": lockCompliance,
}

// minThrottle is the least that a VPS may be slowed down to, in bytes per second:
// below, its system may take its disks for broken.
const minThrottle = 256 << 10

// configFlags are the settings that have a flag.
func configFlags(fs *pflag.FlagSet) {
	fs.String("config", "", "configuration file (YAML)")
	fs.String("data", "", "directory of everything the service keeps (default /var/lib/holdfast)")
	fs.String("database", "", "SQLite file, or postgres://USER@HOST/NAME; its password is in the file that PGPASSFILE names (default holdfast.db in data)")
	fs.String("listen", "", "address of the HTTP API (default 127.0.0.1:8480)")
	fs.String("accelerator", "", "QEMU accelerator: tcg or kvm; never guessed")
	fs.StringArray("set", nil, "any setting as name=value, such as host.first_port=21000")
}

// loadConfig reads all layers and checks them; what is wrong is told by name.
func loadConfig(fs *pflag.FlagSet, environ []string) (config, error) {
	k := koanf.New(".")
	for name, v := range configDefaults {
		_ = k.Set(name, v) // setting a string or number cannot fail
	}
	if err := loadFile(k, fs); err != nil {
		return config{}, err
	}
	if err := loadEnviron(k, environ); err != nil {
		return config{}, err
	}
	if err := loadFlags(k, fs); err != nil {
		return config{}, err
	}
	var c config
	err := k.UnmarshalWithConf("", &c, koanf.UnmarshalConf{DecoderConfig: &mapstructure.DecoderConfig{
		Result: &c, TagName: "koanf", WeaklyTypedInput: true, ErrorUnused: true,
		DecodeHook: mapstructure.ComposeDecodeHookFunc(copiesHook, daysHook, listHook, mapstructure.StringToTimeDurationHookFunc()),
	}})
	if err != nil {
		return config{}, holdfast.Wrap(holdfast.CodeInvalidRequest, "config", "The configuration cannot be read.", err)
	}
	c.values = k.All()
	c.derive()
	return c, c.check()
}

func loadFile(k *koanf.Koanf, fs *pflag.FlagSet) error {
	name, err := fs.GetString("config")
	if err != nil || name == "" {
		return err
	}
	b, err := os.ReadFile(name) // #nosec G304 -- the operator names it
	if err != nil {
		return holdfast.Wrap(holdfast.CodeInvalidRequest, "config", "The configuration file cannot be read.", err)
	}
	m, err := yaml.Parser().Unmarshal(b)
	if err != nil {
		return holdfast.Wrap(holdfast.CodeInvalidRequest, "config", "The configuration file is not YAML.", err)
	}
	if err := k.Load(mapProvider(m), nil); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	return nil
}

// loadEnviron takes HOLDFAST_HOST_ACCELERATOR for host.accelerator. Names that
// are not settings are left alone: clients keep theirs under the same prefix. An
// empty value is none.
func loadEnviron(k *koanf.Koanf, environ []string) error {
	names := map[string]string{}
	for name := range configDefaults {
		names["HOLDFAST_"+strings.ToUpper(strings.ReplaceAll(name, ".", "_"))] = name
	}
	for _, kv := range environ {
		env, value, _ := strings.Cut(kv, "=")
		if name, ok := names[env]; ok && value != "" {
			if err := k.Set(name, value); err != nil {
				return fmt.Errorf("config: %s: %w", env, err)
			}
		}
	}
	return nil
}

func loadFlags(k *koanf.Koanf, fs *pflag.FlagSet) error {
	for flag, name := range map[string]string{"data": "data", "database": "database", "listen": "listen", "accelerator": "host.accelerator"} {
		if !fs.Changed(flag) {
			continue
		}
		v, err := fs.GetString(flag)
		if err != nil {
			return fmt.Errorf("config: %w", err)
		}
		_ = k.Set(name, v)
	}
	sets, err := fs.GetStringArray("set")
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	for _, s := range sets {
		name, value, ok := strings.Cut(s, "=")
		if _, known := configDefaults[name]; !ok || !known {
			return holdfast.E(holdfast.CodeInvalidRequest, fmt.Sprintf("--set %s: not a setting. `holdfast config show` lists them.", s))
		}
		_ = k.Set(name, value)
	}
	return nil
}

// derive fills what follows from the data directory.
func (c *config) derive() {
	for _, d := range []struct {
		at   *string
		name string
	}{
		{&c.Database, "holdfast.db"}, {&c.MasterKey, "master.key"}, {&c.Site, "vault"},
		{&c.Host.Machines, "machines"}, {&c.Host.Run, "run"}, {&c.Host.Scratch, "scratch"},
	} {
		if *d.at == "" {
			*d.at = filepath.Join(c.Data, d.name)
		}
	}
	c.deriveCopies()
	if len(c.MasterKeyCommand) > 0 {
		c.MasterKey = ""
	}
}

func (c *config) check() error {
	var bad []holdfast.Field
	add := func(ok bool, name, detail string) {
		if !ok {
			bad = append(bad, holdfast.Field{Pointer: name, Detail: detail, Code: holdfast.CodeInvalidValue})
		}
	}
	_, _, err := net.SplitHostPort(c.Listen)
	add(err == nil, "listen", "must be host:port")
	add(filepath.IsAbs(c.Data), "data", "must be an absolute path")
	detail := databaseFault(c.Database)
	add(detail == "", "database", detail)
	add(c.Operations.Lease >= time.Second, "operations.lease", "must be 1s or more")
	add(c.Operations.Concurrency >= 1, "operations.concurrency", "must be 1 or more")
	add(c.Rate.PerMinute >= 1 && c.Rate.Burst >= 1, "rate", "per_minute and burst must be 1 or more")
	add(c.Payg.MinStorageGb >= 1, "payg.min_storage_gb", "must be 1 or more")
	add(c.Host.Driver == "qemu" || c.Host.Driver == "sim", "host.driver", "must be qemu or sim")
	add(c.Host.FirstPort > 0 && c.Host.FirstPort <= c.Host.LastPort && c.Host.LastPort < 65536, "host.first_port", "first_port to last_port must be a range of ports")
	add(new(slog.Level).UnmarshalText([]byte(c.Log.Level)) == nil, "log.level", "must be debug, info, warn or error")
	add(c.Vault.BytesPerSecond >= 0 && c.Vault.RequestsPerSecond >= 0, "vault", "bytes_per_second and requests_per_second must be 0 or more")
	add(!strings.Contains(c.Site, "://") || onS3(c.Site), "site", "must be a directory or s3://bucket/prefix")
	add(c.S3.Lock == 0 || onS3(c.Site) && c.S3.Lock >= minLock && c.S3.Lock <= maxLock, "s3.lock", "must be 0 or from 1m to ten years (87600h), of a site that is a bucket")
	add(c.S3.LockMode == lockCompliance || c.S3.LockMode == lockGovernance, "s3.lock_mode", "must be compliance or governance")
	add(c.Log.Format == "text" || c.Log.Format == "json", "log.format", "must be text or json")
	add(c.Host.ScratchLimit >= 1, "host.scratch_limit_mib", "must be 1 or more")
	add(c.Host.HostScratchLimit >= 0 && c.Host.ScratchReserve >= 0, "host.scratch_reserve_mib", "this and host_scratch_limit_mib must be 0 or more")
	add(c.Host.ScratchRetry.WriteBytes == 0 || c.Host.ScratchRetry.WriteBytes >= minThrottle, "host.scratch_retry.guest_write_bytes_per_second", fmt.Sprintf("must be 0, for no second try, or %d or more", minThrottle))
	add(c.Host.BackupBytes >= 0, "host.backup_bytes_per_second", "must be 0, for no limit, or more")
	add(c.Host.WriteLatency >= 0, "host.write_latency_limit", "must be 0, for no limit, or more")
	add(c.Host.Name != "", "host.name", "must not be empty")
	add(c.Host.Region != "", "host.region", "must not be empty")
	add(c.Vault.BytesPerSecond >= 0, "vault.bytes_per_second", "must be 0, for no limit, or more")
	add(c.Host.Accelerator == "" || c.Host.Accelerator == "tcg" || c.Host.Accelerator == "kvm", "host.accelerator", "must be tcg or kvm")
	add(c.Backup.Sample >= 0 && c.Backup.Sample <= 1, "backup.sample", "must be from 0, for nothing, to 1")
	add(c.Vault.CollectAfter >= 0, "vault.collect_after", "must be 0, for never, or more")
	add(c.Restore.UndoFor >= time.Minute, "restore.undo_for", "must be 1m or more")
	add(c.Restore.Grace >= time.Second && c.Restore.Grace <= time.Hour, "restore.grace", "must be from 1s to 1h")
	bad = append(bad, c.checkCopies()...)
	bad = append(bad, c.Snapshot.check()...)
	add(c.DatabaseBackupRetention >= 0, "database_backup_retention", "must be 0, for unknown, or more")
	bad = append(bad, c.checkMasterKey()...)
	if len(bad) > 0 {
		return &holdfast.Error{Code: holdfast.CodeInvalidRequest, Op: "config", Msg: "The configuration is wrong.", Fields: bad}
	}
	return nil
}

func (c *config) restorePolicy() control.RestorePolicy {
	return control.RestorePolicy{UndoFor: c.Restore.UndoFor, Grace: c.Restore.Grace}
}

// mapProvider gives koanf a map that is already there.
type mapProvider map[string]any

func (m mapProvider) ReadBytes() ([]byte, error)    { return nil, errors.New("config: no bytes") }
func (m mapProvider) Read() (map[string]any, error) { return m, nil }
