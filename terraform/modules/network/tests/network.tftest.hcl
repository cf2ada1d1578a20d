# Every provider and both foreign modules are mocked: nothing here needs an account. What the modules make of their
# input is theirs to test; here stands what reaches them and what is refused.
mock_provider "aws" {}

override_module {
  target = module.vpc
  outputs = {
    vpc_id                  = "vpc-0123456789abcdef0"
    private_subnets         = ["subnet-a", "subnet-b", "subnet-c"]
    intra_subnets           = ["subnet-d", "subnet-e", "subnet-f"]
    private_route_table_ids = ["rtb-a"]
    intra_route_table_ids   = ["rtb-b"]
  }
}

override_module {
  target = module.endpoints
}

variables {
  name  = "proof"
  zones = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
}

run "subnets_do_not_overlap" {
  command = plan

  assert {
    condition     = local.private == ["10.64.0.0/18", "10.64.64.0/18", "10.64.128.0/18"]
    error_message = "private: ${jsonencode(local.private)}"
  }
  assert {
    condition     = local.public == ["10.64.192.0/21", "10.64.200.0/21", "10.64.208.0/21"]
    error_message = "public: ${jsonencode(local.public)}"
  }
  assert {
    condition     = local.intra == ["10.64.224.0/21", "10.64.232.0/21", "10.64.240.0/21"]
    error_message = "intra: ${jsonencode(local.intra)}"
  }
  assert {
    condition     = output.vpc_id == "vpc-0123456789abcdef0" && length(output.control_plane_subnet_ids) == 3
    error_message = "the VPC's outputs are not handed on"
  }
}

run "a_single_nat_gateway_is_said_aloud" {
  command = plan
  variables {
    nat = "single"
  }
  expect_failures = [check.one_nat_gateway]
}

run "one_zone_is_refused" {
  command = plan
  variables {
    zones = ["eu-central-1a"]
  }
  expect_failures = [var.zones]
}

run "a_small_range_is_refused" {
  command = plan
  variables {
    cidr = "10.0.0.0/24"
  }
  expect_failures = [var.cidr]
}

run "no_way_out_and_no_registry_is_refused" {
  command = plan
  variables {
    nat       = "none"
    endpoints = ["sts"]
  }
  expect_failures = [var.endpoints]
}

run "a_short_flow_log_is_refused" {
  command = plan
  variables {
    flow_log_days = 7
  }
  expect_failures = [var.flow_log_days]
}
