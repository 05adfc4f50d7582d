package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"holdfast"
	"holdfast/api"
	"holdfast/store"
)

func serveCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "serve --data DIR --listen ADDR [--config FILE]",
		Short: "Run the service: API, operations and an in-process host",
		Args:  usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(cmd.Flags(), os.Environ())
			if err != nil {
				return err
			}
			log, err := newLogger(cfg)
			if err != nil {
				return err
			}
			return serve(cmd.Context(), cfg, log)
		},
	}
	configFlags(c.Flags())
	return c
}

// serve runs the service until ctx ends: then requests are answered to their
// end, and running operations are handed back for the next start.
func serve(ctx context.Context, cfg config, log *slog.Logger) (err error) {
	// Before anything is made or migrated: another service may be at work.
	lock, err := lockData(cfg.Data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	in, err := openInstallation(ctx, cfg, true, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.close()) }()
	if err := in.appear(ctx); err != nil {
		return err
	}
	err = in.store.TxUrgent(ctx, func(tx *store.Tx) error { return tx.PutMeta(ctx, store.MetaKeyServe, []byte(in.master.Check())) })
	if err != nil {
		return fmt.Errorf("master key: %w", err)
	}
	if err := in.sites[0].prove(ctx, in.store); err != nil {
		return err
	}
	h, err := newHost(ctx, in, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if cfg.DocsBase == "" {
		cfg.DocsBase = "http://" + listener.Addr().String()
	}
	limitMemory(cfg.Operations.Concurrency)
	rate := api.Rate{PerMinute: cfg.Rate.PerMinute, Burst: cfg.Rate.Burst}
	limiter := api.NewLimiter(rate, time.Now)
	if store.OnServer(cfg.Database) { // others may serve, too
		limiter = api.NewSharedLimiter(in.control, rate, time.Now)
	}
	server := &http.Server{
		Handler: api.New(in.control, api.Options{
			DocsBase: cfg.DocsBase, Version: version, Logger: log,
			Rate: rate, Limiter: limiter,
		}),
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second,
		WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	log.InfoContext(ctx, "serving", "address", listener.Addr().String(), "data", cfg.Data, "version", version)
	stopped := ctx
	g, ctx := errgroup.WithContext(stopped)
	g.Go(func() error { return h.run(ctx) })
	g.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		log.InfoContext(ctx, "shutting down")
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
		defer cancel()
		return server.Shutdown(grace)
	})
	err = g.Wait()
	if stopped.Err() != nil && errors.Is(err, context.Canceled) {
		return nil // asked to stop while it was still starting
	}
	return err
}

// limitMemory has garbage collected sooner when memory grows: left alone, the
// heap may double before it is, and a backup holds some 80 MiB of packs in the
// making. Whoever sets GOMEMLIMIT knows better.
func limitMemory(backups int) {
	const base, backup = 64 << 20, 64 << 20 // bytes
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(base + int64(backups)*backup)
	}
}

// lockData keeps a second service off the data directory; the lock goes with
// the process.
func lockData(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o711); err != nil { // #nosec G301 -- QEMU's user passes through to its disks; the files are 0600
		return nil, fmt.Errorf("data directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "serve.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(holdfast.Wrap(holdfast.CodeOperationInProgress, "serve", "Another service runs on "+dir+".", err), f.Close())
	}
	return f, nil
}

// serving reports whether a service runs on the data directory, or on the database.
func (in *installation) serving(ctx context.Context) (bool, error) {
	if n, _, err := in.store.Services(ctx, ""); err != nil || n > 0 {
		return n > 0, err
	}
	lock, err := lockData(in.config.Data)
	if holdfast.CodeOf(err) == holdfast.CodeOperationInProgress {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return false, lock.Close()
}

func newLogger(cfg config) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Log.Level)); err != nil {
		return nil, holdfast.Wrap(holdfast.CodeInvalidRequest, "config", "log.level must be debug, info, warn or error.", err)
	}
	o := &slog.HandlerOptions{Level: level}
	if cfg.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, o)), nil
	}
	return slog.New(slog.NewTextHandler(os.Stderr, o)), nil
}
