# One cluster, a registry, and the roles between them and GitHub. The charts stand in charts.tf, the namespaces of the apps
# in namespaces.tf.

terraform {
  # Fill in at init: terraform init -backend-config=state.hcl. The bucket needs versions and encryption; the state holds no
  # secret, but who may write it may change everything here.
  backend "s3" {
    use_lockfile = true
    encrypt      = true
  }
}

module "network" {
  source = "../../modules/network"

  name  = var.name
  zones = var.zones
  nat   = var.nat
  tags  = var.tags
}

module "cluster" {
  source = "../../modules/cluster"

  name                     = var.name
  kubernetes_version       = var.kubernetes_version
  vpc_id                   = module.network.vpc_id
  subnet_ids               = module.network.private_subnet_ids
  control_plane_subnet_ids = module.network.control_plane_subnet_ids
  administrators           = var.administrators
  unsafe_public_api_cidrs  = var.unsafe_public_api_cidrs
  unsafe_allow_deletion    = var.unsafe_allow_deletion
  tags                     = var.tags
}

module "registry" {
  source = "../../modules/registry"

  repositories    = [for a in values(var.apps) : a.image]
  replica_regions = var.replica_regions
  keep_days       = var.keep_days
  tags            = var.tags
}

data "aws_caller_identity" "this" {}

data "aws_partition" "this" {}

locals {
  # Written rather than taken from the repositories, so that the roles' policies are whole in the plan that is reviewed.
  repository_arns = { for k, a in var.apps : k => "arn:${data.aws_partition.this.partition}:ecr:${var.region}:${data.aws_caller_identity.this.account_id}:repository/${a.image}" }
  cluster_arn     = "arn:${data.aws_partition.this.partition}:eks:${var.region}:${data.aws_caller_identity.this.account_id}:cluster/${var.name}"
}

module "identity" {
  source = "../../modules/identity"

  prefix = var.name
  releases = { for k, a in var.apps : k => {
    owner              = a.owner
    owner_id           = a.owner_id
    repository         = a.repository
    repository_id      = a.repository_id
    ref                = a.ref
    environment        = a.environment
    workflow           = a.workflow
    ecr_repository_arn = local.repository_arns[k]
  } }

  cluster                  = { name = module.cluster.name, arn = local.cluster_arn }
  readable_repository_arns = values(local.repository_arns)
  tags                     = var.tags
}
