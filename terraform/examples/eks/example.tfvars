# A small platform with one app. Copy it, put in what is yours, and let charts.sh write charts.auto.tfvars.json.
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
