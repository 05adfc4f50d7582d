package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"holdfast"
	"holdfast/control"
)

// VPS is a virtual private server on the wire.
type VPS struct {
	ID              string                  `json:"id" example:"vps_01hxa3b4c5d6e7f8g9h0j1k2m3"`
	Name            string                  `json:"name" example:"web-01"`
	PrimaryIP       *string                 `json:"primaryIp" doc:"null when it has no address of its own; see forwardedPorts."`
	ServiceStatus   string                  `json:"serviceStatus" enum:"active,suspended,terminated,pending,cancelled,expired,fraud,unknown"`
	PowerState      *string                 `json:"powerState" enum:"running,stopped,starting,stopping,paused,provisioning,error,unknown" doc:"null for a terminated VPS."`
	OperatingSystem orNull[operatingSystem] `json:"operatingSystem"`
	Billing         vpsBilling              `json:"billing"`
	Resources       vpsResources            `json:"resources"`
	Region          string                  `json:"region" example:"stockholm"`
	CreatedAt       string                  `json:"createdAt" format:"date-time"`
	ForwardedPorts  []forwardedPort         `json:"forwardedPorts" doc:"Ports of the VPS that are reached through its host."`
	Pending         *orNull[map[string]any] `json:"pendingMaintenance,omitzero" doc:"Only with include=pendingMaintenance; null when none is planned."`
}

type operatingSystem struct {
	DisplayName string `json:"displayName" example:"Debian 13"`
	Family      string `json:"family" example:"debian"`
	Version     string `json:"version" example:"13"`
	Variant     string `json:"variant"`
}

type vpsBilling struct {
	Amount       float64 `json:"amount" doc:"In major units of the currency."`
	CurrencyCode string  `json:"currencyCode" example:"EUR"`
	BillingCycle string  `json:"billingCycle" enum:"monthly,quarterly,semiannually,annually,biennially,triennially,free"`
	IsPayg       bool    `json:"isPayg" doc:"Whether this is a Cloud VM, billed by the hour."`
	PeriodYears  *int    `json:"periodYears"`
}

type vpsResources struct {
	CPUCores  int `json:"cpuCores" example:"2"`
	MemoryGb  int `json:"memoryGb" doc:"GiB" example:"4"`
	StorageGb int `json:"storageGb" doc:"GiB" example:"80"`
}

type forwardedPort struct {
	Address   string `json:"address" example:"127.0.0.1"`
	HostPort  int    `json:"hostPort" example:"40022"`
	GuestPort int    `json:"guestPort" example:"22"`
}

func vpsItemOf(v holdfast.VPS) VPS {
	out := VPS{
		ID: v.ID.String(), Name: v.Name, PrimaryIP: textOrNull(v.PrimaryIP), ServiceStatus: string(v.Service),
		PowerState: textOrNull(string(v.Power)), Region: v.Region, CreatedAt: wireTime(v.CreatedAt),
		Billing: vpsBilling{
			Amount: float64(v.Billing.AmountMinor) / 100, CurrencyCode: v.Billing.Currency,
			BillingCycle: v.Billing.Cycle, IsPayg: v.Billing.IsPayg,
		},
		Resources:      vpsResources{CPUCores: v.CPUCores, MemoryGb: v.MemoryGb(), StorageGb: v.StorageGb()},
		ForwardedPorts: []forwardedPort{},
	}
	if v.Service == holdfast.ServiceTerminated {
		out.PowerState = nil
		return out.withOS(v.OS)
	}
	for _, p := range v.Ports {
		out.ForwardedPorts = append(out.ForwardedPorts, forwardedPort(p))
	}
	return out.withOS(v.OS)
}

func (i VPS) withOS(os *holdfast.OperatingSystem) VPS {
	if os != nil {
		wire := operatingSystem(*os)
		i.OperatingSystem.value = &wire
	}
	return i
}

type vpsDetail struct {
	VPS
	Actions powerGates `json:"actions"`
}

type powerGates struct {
	CanStart    gate `json:"canStart"`
	CanShutdown gate `json:"canShutdown"`
	CanStop     gate `json:"canStop"`
	CanRestart  gate `json:"canRestart"`
	CanReset    gate `json:"canReset"`
}

type listVPSInput struct {
	Limit     int    `query:"limit" minimum:"1" maximum:"100" default:"20" doc:"How many to return."`
	Cursor    string `query:"cursor" doc:"nextCursor of the page before, unchanged."`
	PrimaryIP string `query:"primaryIp" doc:"Only the VPS of this address."`
	Name      string `query:"name" doc:"Only VPSs of exactly this name, in any case."`
	Include   string `query:"include" enum:"pendingMaintenance" doc:"What else to say of each VPS."`
}

type listVPSOutput struct {
	Body struct {
		Data       []VPS   `json:"data"`
		HasMore    bool    `json:"hasMore"`
		NextCursor *string `json:"nextCursor" doc:"null on the last page."`
	}
}

type vpsPath struct {
	ID string `path:"id" doc:"Public VPS id from GET /api/v2/vps data[].id." example:"vps_01hxa3b4c5d6e7f8g9h0j1k2m3"`
}

type vpsOutput struct{ Body vpsDetail }

func (s *server) registerVPS() {
	register(s, scopes(holdfast.ScopeReadVM), huma.Operation{
		OperationID: "listVps", Method: http.MethodGet, Path: "/api/v2/vps", Tags: []string{tagVPS},
		Summary:     "List VPSs",
		Description: "The account's VPSs and Cloud VMs, the newest first. A terminated VPS is among them for as long as it has a backup that can be restored.",
	}, func(ctx context.Context, x *exchange, in *listVPSInput) (*listVPSOutput, error) {
		page, err := s.control.ListVPS(ctx, *x.caller, control.VPSFilter{PrimaryIP: in.PrimaryIP, Name: in.Name},
			control.Page{Limit: in.Limit, Cursor: in.Cursor})
		if err != nil {
			return nil, err
		}
		out := &listVPSOutput{}
		out.Body.Data = []VPS{}
		for _, v := range page.Items {
			item := vpsItemOf(v)
			if in.Include != "" {
				item.Pending = &orNull[map[string]any]{}
			}
			out.Body.Data = append(out.Body.Data, item)
		}
		out.Body.NextCursor = textOrNull(page.NextCursor)
		out.Body.HasMore = page.NextCursor != ""
		return out, nil
	})
	register(s, scopes(holdfast.ScopeReadVM), huma.Operation{
		OperationID: "getVps", Method: http.MethodGet, Path: "/api/v2/vps/{id}", Tags: []string{tagVPS},
		Summary:     "Get a VPS",
		Description: "One VPS, with the gates of its power actions.",
	}, func(ctx context.Context, x *exchange, in *vpsPath) (*vpsOutput, error) {
		v, g, err := s.control.GetVPS(ctx, *x.caller, in.ID)
		if err != nil {
			return nil, err
		}
		return &vpsOutput{vpsDetail{vpsItemOf(v), powerGates{
			gateOf(g.Start), gateOf(g.Shutdown), gateOf(g.Stop), gateOf(g.Restart), gateOf(g.Reset),
		}}}, nil
	})
}
