provider "aws" {
  region = var.region

  default_tags {
    tags = merge({ "hallmark.sh/root" = var.name }, var.tags)
  }
}

# A token for each run, made by the AWS command line from whoever runs Terraform. None is kept in the state.
locals {
  token = {
    api_version = "client.authentication.k8s.io/v1"
    command     = "aws"
    args        = ["eks", "get-token", "--cluster-name", module.cluster.name, "--region", var.region]
  }
}

provider "kubernetes" {
  host                   = module.cluster.endpoint
  cluster_ca_certificate = base64decode(module.cluster.certificate_authority)

  exec {
    api_version = local.token.api_version
    command     = local.token.command
    args        = local.token.args
  }
}

provider "helm" {
  kubernetes = {
    host                   = module.cluster.endpoint
    cluster_ca_certificate = base64decode(module.cluster.certificate_authority)
    exec                   = local.token
  }
}
