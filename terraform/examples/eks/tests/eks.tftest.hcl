mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "111122223333" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws", dns_suffix = "amazonaws.com" }
  }
}
mock_provider "helm" {}
mock_provider "kubernetes" {}

override_module {
  target = module.network
  outputs = {
    vpc_id                   = "vpc-0123456789abcdef0"
    private_subnet_ids       = ["subnet-a", "subnet-b", "subnet-c"]
    control_plane_subnet_ids = ["subnet-d", "subnet-e", "subnet-f"]
  }
}

override_module {
  target = module.cluster
  outputs = {
    name                  = "hallmark"
    arn                   = "arn:aws:eks:eu-central-1:111122223333:cluster/hallmark"
    endpoint              = "https://0123456789ABCDEF.gr7.eu-central-1.eks.amazonaws.com"
    certificate_authority = "LS0tLS1CRUdJTg=="
  }
}

variables {
  name               = "hallmark"
  region             = "eu-central-1"
  zones              = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
  kubernetes_version = "1.35"
  administrators     = { platform = "arn:aws:iam::111122223333:role/platform" }

  apps = {
    app = {
      owner         = "acme"
      owner_id      = 1001
      repository    = "app"
      repository_id = 2002
      ref           = "refs/heads/main"
      workflow      = "hallmark-sh/hallmark/.github/workflows/release.yml@0123456789abcdef0123456789abcdef01234567"
      image         = "acme/app"
      namespaces    = ["shop"]
    }
  }

  policies = "tests/policies.yaml"

  charts = {
    kyverno               = { archive = "tests/charts/kyverno-3.9.0.tgz", version = "3.9.0", sha256 = "07dd453f026b35f0a9ce3cc2002bfac624ff45eec75fcbb144adc3dc9597ddbe" }
    kube_prometheus_stack = { archive = "tests/charts/kube-prometheus-stack-88.5.2.tgz", version = "88.5.2", sha256 = "a01f87b7733d77fc0699fad29ca792361f2d7be939f43f977acdebd9cb0d7d62" }
    hallmark              = { archive = "tests/charts/hallmark-0.1.0.tgz", version = "0.1.0", sha256 = "8b5a20853a9a2e7aa347928b8cbef2d6e869fca8bb8538638ef1853b12c54669" }
  }
}

run "the_parts_fit" {
  command = plan

  assert {
    condition     = strcontains(output.hallmark_yaml["app"], "\"image\": \"111122223333.dkr.ecr.eu-central-1.amazonaws.com/acme/app\"")
    error_message = "hallmark.yaml: ${output.hallmark_yaml["app"]}"
  }
  assert {
    condition     = alltrue([for n in kubernetes_namespace_v1.app : n.metadata[0].labels["pod-security.kubernetes.io/enforce"] == "restricted"])
    error_message = "a namespace of an app takes pods that are more than restricted"
  }
  assert {
    condition     = alltrue([for p in kubernetes_network_policy_v1.nothing : toset(p.spec[0].policy_types) == toset(["Ingress", "Egress"]) && length(p.spec[0].egress) == 0 && length(p.spec[0].ingress) == 0])
    error_message = "an app's namespace is open"
  }
  assert {
    condition     = keys(kubernetes_network_policy_v1.nothing) == ["shop"]
    error_message = "an app's namespace has no network policy"
  }
  assert {
    condition     = yamldecode(helm_release.policies.values[0]).documents == file("tests/policies.yaml")
    error_message = "the policies are not handed on as they are"
  }
  assert {
    condition     = yamldecode(helm_release.kyverno.values[0]).features.policyExceptions.namespace == "kyverno" && !can(yamldecode(helm_release.kyverno.values[1]).features)
    error_message = "Kyverno takes exceptions from everywhere"
  }
  assert {
    condition     = tonumber(yamldecode(helm_release.kyverno.values[0]).admissionController.container.extraArgs.imageVerifyCacheMaxSize) > 1000000
    error_message = "Kyverno's cache is too small to keep an attestation"
  }
}

run "another_archive_is_refused" {
  command = plan
  variables {
    charts = {
      kyverno               = { archive = "tests/charts/hallmark-0.1.0.tgz", version = "3.9.0", sha256 = "07dd453f026b35f0a9ce3cc2002bfac624ff45eec75fcbb144adc3dc9597ddbe" }
      kube_prometheus_stack = { archive = "tests/charts/kube-prometheus-stack-88.5.2.tgz", version = "88.5.2", sha256 = "a01f87b7733d77fc0699fad29ca792361f2d7be939f43f977acdebd9cb0d7d62" }
      hallmark              = { archive = "tests/charts/hallmark-0.1.0.tgz", version = "0.1.0", sha256 = "8b5a20853a9a2e7aa347928b8cbef2d6e869fca8bb8538638ef1853b12c54669" }
    }
  }
  expect_failures = [helm_release.kyverno]
}

run "a_missing_archive_is_refused" {
  command = plan
  variables {
    charts = {
      kyverno               = { archive = "tests/charts/kyverno-3.9.0.tgz", version = "3.9.0", sha256 = "07dd453f026b35f0a9ce3cc2002bfac624ff45eec75fcbb144adc3dc9597ddbe" }
      kube_prometheus_stack = { archive = "tests/charts/kube-prometheus-stack-88.5.2.tgz", version = "88.5.2", sha256 = "a01f87b7733d77fc0699fad29ca792361f2d7be939f43f977acdebd9cb0d7d62" }
      hallmark              = { archive = "tests/charts/missing.tgz", version = "0.1.0", sha256 = "8b5a20853a9a2e7aa347928b8cbef2d6e869fca8bb8538638ef1853b12c54669" }
    }
  }
  expect_failures = [helm_release.hallmark]
}

run "a_chart_without_a_digest_is_refused" {
  command = plan
  variables {
    charts = {
      kyverno               = { archive = "tests/charts/kyverno-3.9.0.tgz", version = "3.9.0", sha256 = "" }
      kube_prometheus_stack = { archive = "tests/charts/kube-prometheus-stack-88.5.2.tgz", version = "88.5.2", sha256 = "a01f87b7733d77fc0699fad29ca792361f2d7be939f43f977acdebd9cb0d7d62" }
      hallmark              = { archive = "tests/charts/hallmark-0.1.0.tgz", version = "0.1.0", sha256 = "8b5a20853a9a2e7aa347928b8cbef2d6e869fca8bb8538638ef1853b12c54669" }
    }
  }
  expect_failures = [var.charts]
}

run "no_policies_are_refused" {
  command = plan
  variables {
    policies = "example.tfvars"
  }
  expect_failures = [var.policies]
}

run "a_password_in_values_is_refused" {
  command = plan
  variables {
    values = { kube_prometheus_stack = ["grafana:\n  adminPassword: hunter2\n"] }
  }
  expect_failures = [var.values]
}

run "a_zone_elsewhere_is_refused" {
  command = plan
  variables {
    zones = ["us-east-1a", "us-east-1b"]
  }
  expect_failures = [var.zones]
}

run "an_app_in_kyvernos_namespace_is_refused" {
  command = plan
  variables {
    apps = {
      app = {
        owner         = "acme"
        owner_id      = 1001
        repository    = "app"
        repository_id = 2002
        ref           = "refs/heads/main"
        workflow      = "hallmark-sh/hallmark/.github/workflows/release.yml@0123456789abcdef0123456789abcdef01234567"
        image         = "acme/app"
        namespaces    = ["kyverno"]
      }
    }
  }
  expect_failures = [var.apps]
}

run "two_apps_in_one_repository_are_refused" {
  command = plan
  variables {
    apps = {
      for name in ["app", "other"] : name => {
        owner         = "acme"
        owner_id      = 1001
        repository    = name
        repository_id = 2002
        ref           = "refs/heads/main"
        workflow      = "hallmark-sh/hallmark/.github/workflows/release.yml@0123456789abcdef0123456789abcdef01234567"
        image         = "acme/app"
        namespaces    = [name]
      }
    }
  }
  expect_failures = [var.apps]
}
