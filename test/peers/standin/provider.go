package main

import (
	"context"
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// provider answers what terraform asks when it plans and applies; terraform asks for nothing else of those it does not
// import from or call functions of.
type provider struct {
	tfprotov6.ProviderServer // never called

	facts  facts
	schema *tfprotov6.GetProviderSchemaResponse
}

func newProvider(f facts) (*provider, error) {
	p := &provider{facts: f, schema: &tfprotov6.GetProviderSchemaResponse{
		ResourceSchemas:   map[string]*tfprotov6.Schema{},
		DataSourceSchemas: map[string]*tfprotov6.Schema{},
		// Published modules name themselves here.
		ProviderMeta: &tfprotov6.Schema{Block: &tfprotov6.SchemaBlock{Attributes: []*tfprotov6.SchemaAttribute{
			{Name: "user_agent", Optional: true, Type: tftypes.List{ElementType: tftypes.String}}}}},
	}}
	own, err := f.Provider.proto()
	if err != nil {
		return nil, err
	}
	p.schema.Provider = &tfprotov6.Schema{Block: own}
	for _, kind := range []struct {
		from map[string]block
		to   map[string]*tfprotov6.Schema
	}{{f.Resources, p.schema.ResourceSchemas}, {f.Data, p.schema.DataSourceSchemas}} {
		for name, b := range kind.from {
			body, err := b.proto()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			kind.to[name] = &tfprotov6.Schema{Block: body}
		}
	}
	return p, nil
}

func (p *provider) GetProviderSchema(context.Context, *tfprotov6.GetProviderSchemaRequest) (*tfprotov6.GetProviderSchemaResponse, error) {
	return p.schema, nil
}

func (p *provider) GetMetadata(context.Context, *tfprotov6.GetMetadataRequest) (*tfprotov6.GetMetadataResponse, error) {
	out := &tfprotov6.GetMetadataResponse{}
	for name := range p.schema.ResourceSchemas {
		out.Resources = append(out.Resources, tfprotov6.ResourceMetadata{TypeName: name})
	}
	for name := range p.schema.DataSourceSchemas {
		out.DataSources = append(out.DataSources, tfprotov6.DataSourceMetadata{TypeName: name})
	}
	return out, nil
}

func (p *provider) GetResourceIdentitySchemas(context.Context, *tfprotov6.GetResourceIdentitySchemasRequest) (*tfprotov6.GetResourceIdentitySchemasResponse, error) {
	return &tfprotov6.GetResourceIdentitySchemasResponse{}, nil
}

func (p *provider) ValidateProviderConfig(_ context.Context, r *tfprotov6.ValidateProviderConfigRequest) (*tfprotov6.ValidateProviderConfigResponse, error) {
	return &tfprotov6.ValidateProviderConfigResponse{PreparedConfig: r.Config}, nil
}

func (p *provider) ConfigureProvider(context.Context, *tfprotov6.ConfigureProviderRequest) (*tfprotov6.ConfigureProviderResponse, error) {
	return &tfprotov6.ConfigureProviderResponse{}, nil
}

func (p *provider) StopProvider(context.Context, *tfprotov6.StopProviderRequest) (*tfprotov6.StopProviderResponse, error) {
	return &tfprotov6.StopProviderResponse{}, nil
}

func (p *provider) ValidateResourceConfig(context.Context, *tfprotov6.ValidateResourceConfigRequest) (*tfprotov6.ValidateResourceConfigResponse, error) {
	return &tfprotov6.ValidateResourceConfigResponse{}, nil
}

func (p *provider) ValidateDataResourceConfig(context.Context, *tfprotov6.ValidateDataResourceConfigRequest) (*tfprotov6.ValidateDataResourceConfigResponse, error) {
	return &tfprotov6.ValidateDataResourceConfigResponse{}, nil
}

func (p *provider) UpgradeResourceState(_ context.Context, r *tfprotov6.UpgradeResourceStateRequest) (*tfprotov6.UpgradeResourceStateResponse, error) {
	t := p.schema.ResourceSchemas[r.TypeName].ValueType()
	v, err := r.RawState.Unmarshal(t)
	if err != nil {
		return nil, fmt.Errorf("reading the state of %s: %w", r.TypeName, err)
	}
	d, err := tfprotov6.NewDynamicValue(t, v)
	return &tfprotov6.UpgradeResourceStateResponse{UpgradedState: &d}, err
}

func (p *provider) ReadResource(_ context.Context, r *tfprotov6.ReadResourceRequest) (*tfprotov6.ReadResourceResponse, error) {
	return &tfprotov6.ReadResourceResponse{NewState: r.CurrentState, Private: r.Private}, nil
}

// What is new and left for the provider to say is unknown; what exists stays as it was proposed.
func (p *provider) PlanResourceChange(_ context.Context, r *tfprotov6.PlanResourceChangeRequest) (*tfprotov6.PlanResourceChangeResponse, error) {
	t := p.schema.ResourceSchemas[r.TypeName].ValueType()
	prior, err := r.PriorState.Unmarshal(t)
	if err != nil {
		return nil, fmt.Errorf("reading the prior state of %s: %w", r.TypeName, err)
	}
	if !prior.IsNull() {
		return &tfprotov6.PlanResourceChangeResponse{PlannedState: r.ProposedNewState}, nil
	}
	planned, err := p.rewrite(r.ProposedNewState, t, func(path *tftypes.AttributePath, v tftypes.Value) tftypes.Value {
		if a, ok := p.facts.Resources[r.TypeName].at(names(path)); ok && a.Computed && v.IsNull() {
			return tftypes.NewValue(v.Type(), tftypes.UnknownValue)
		}
		return v
	})
	return &tfprotov6.PlanResourceChangeResponse{PlannedState: planned}, err
}

func (p *provider) ApplyResourceChange(_ context.Context, r *tfprotov6.ApplyResourceChangeRequest) (*tfprotov6.ApplyResourceChangeResponse, error) {
	t := p.schema.ResourceSchemas[r.TypeName].ValueType()
	config, err := r.Config.Unmarshal(t)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration of %s: %w", r.TypeName, err)
	}
	applied, err := p.rewrite(r.PlannedState, t, func(path *tftypes.AttributePath, v tftypes.Value) tftypes.Value {
		if v.IsKnown() {
			return v
		}
		return madeUp(r.TypeName+config.String(), names(path), v.Type())
	})
	return &tfprotov6.ApplyResourceChangeResponse{NewState: applied}, err
}

// A data source answers as for one account, and otherwise with what was asked.
func (p *provider) ReadDataSource(_ context.Context, r *tfprotov6.ReadDataSourceRequest) (*tfprotov6.ReadDataSourceResponse, error) {
	answers := map[string]string{
		"aws_caller_identity.account_id": "111122223333",
		"aws_partition.partition":        "aws",
		"aws_partition.dns_suffix":       "amazonaws.com",
	}
	t := p.schema.DataSourceSchemas[r.TypeName].ValueType()
	state, err := p.rewrite(r.Config, t, func(path *tftypes.AttributePath, v tftypes.Value) tftypes.Value {
		at := names(path)
		a, ok := p.facts.Data[r.TypeName].at(at)
		if !ok || !a.Computed || !v.IsNull() {
			return v
		}
		if answer, ok := answers[r.TypeName+"."+strings.Join(at, ".")]; ok {
			return tftypes.NewValue(v.Type(), answer)
		}
		return madeUp(r.TypeName, at, v.Type())
	})
	return &tfprotov6.ReadDataSourceResponse{State: state}, err
}

func (p *provider) rewrite(d *tfprotov6.DynamicValue, t tftypes.Type, change func(*tftypes.AttributePath, tftypes.Value) tftypes.Value) (*tfprotov6.DynamicValue, error) {
	v, err := d.Unmarshal(t)
	if err != nil {
		return nil, fmt.Errorf("reading a value: %w", err)
	}
	if v.IsNull() {
		return d, nil
	}
	v, err = tftypes.Transform(v, func(path *tftypes.AttributePath, v tftypes.Value) (tftypes.Value, error) {
		return change(path, v), nil
	})
	if err != nil {
		return nil, fmt.Errorf("rewriting a value: %w", err)
	}
	out, err := tfprotov6.NewDynamicValue(t, v)
	return &out, err
}

// madeUp is a value of the type, the same for the same seed and place.
func madeUp(seed string, at []string, t tftypes.Type) tftypes.Value {
	h := fnv.New64a()
	fmt.Fprint(h, seed, at)
	text := fmt.Sprintf("%s-%016x", at[len(at)-1], h.Sum64())
	switch {
	case t.Is(tftypes.String) && strings.HasSuffix(at[len(at)-1], "arn"):
		return tftypes.NewValue(t, "arn:aws:standin:::"+text)
	case t.Is(tftypes.String):
		return tftypes.NewValue(t, text)
	case t.Is(tftypes.Number):
		return tftypes.NewValue(t, 1)
	case t.Is(tftypes.Bool):
		return tftypes.NewValue(t, false)
	case t.Is(tftypes.List{}), t.Is(tftypes.Set{}):
		return tftypes.NewValue(t, []tftypes.Value{})
	case t.Is(tftypes.Map{}):
		return tftypes.NewValue(t, map[string]tftypes.Value{})
	}
	return tftypes.NewValue(t, nil)
}
