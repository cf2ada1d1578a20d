mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
}

override_module {
  target = module.eks
  outputs = {
    cluster_name                       = "proof"
    cluster_arn                        = "arn:aws:eks:eu-central-1:111122223333:cluster/proof"
    cluster_endpoint                   = "https://0123456789ABCDEF.gr7.eu-central-1.eks.amazonaws.com"
    cluster_certificate_authority_data = "LS0tLS1CRUdJTg=="
    kms_key_arn                        = "arn:aws:kms:eu-central-1:111122223333:key/0"
    eks_managed_node_groups            = { system = { iam_role_name = "system" } }
  }
}

variables {
  name                     = "proof"
  kubernetes_version       = "1.35"
  vpc_id                   = "vpc-0123456789abcdef0"
  subnet_ids               = ["subnet-a", "subnet-b"]
  control_plane_subnet_ids = ["subnet-c", "subnet-d"]
  administrators           = { platform = "arn:aws:iam::111122223333:role/platform" }
}

run "plans_without_a_warning" {
  command = plan

  assert {
    condition     = output.name == "proof" && output.node_role_name == "system"
    error_message = "the cluster's outputs are not handed on"
  }
}

run "a_public_api_server_is_said_aloud" {
  command = plan
  variables {
    unsafe_public_api_cidrs = ["203.0.113.0/24"]
  }
  expect_failures = [check.api_server_is_private]
}

run "an_api_server_open_to_all_is_refused" {
  command = plan
  variables {
    unsafe_public_api_cidrs = ["0.0.0.0/0"]
  }
  expect_failures = [var.unsafe_public_api_cidrs]
}

run "a_cluster_that_can_be_deleted_is_said_aloud" {
  command = plan
  variables {
    unsafe_allow_deletion = true
  }
  expect_failures = [check.cluster_is_protected]
}

run "everybody_as_administrator_is_refused" {
  command = plan
  variables {
    administrators = { all = "arn:aws:iam::111122223333:role/*" }
  }
  expect_failures = [var.administrators]
}

run "nobody_as_administrator_is_refused" {
  command = plan
  variables {
    administrators = {}
  }
  expect_failures = [var.administrators]
}

run "one_node_is_refused" {
  command = plan
  variables {
    nodes = { min = 1 }
  }
  expect_failures = [var.nodes]
}

run "short_logs_are_refused" {
  command = plan
  variables {
    log_days = 30
  }
  expect_failures = [var.log_days]
}

run "an_unknown_addon_is_refused" {
  command = plan
  variables {
    addon_versions = { vpc_cni = "v1.20.4-eksbuild.2" }
  }
  expect_failures = [var.addon_versions]
}
