# ECR repositories for images with their evidence.
#
# hallmark keeps evidence as OCI 1.1 referrers, which ECR serves. A referrer has no tag, so all tags can be immutable:
# whoever may push can add, and nobody can put another image under a name that was verified.

resource "aws_kms_key" "registry" {
  description             = "Images and their evidence in ECR"
  enable_key_rotation     = true
  deletion_window_in_days = var.key_deletion_days
  tags                    = var.tags
}

resource "aws_kms_alias" "registry" {
  name          = "alias/hallmark-${replace(sort(var.repositories)[0], "/[^a-zA-Z0-9_-]/", "-")}"
  target_key_id = aws_kms_key.registry.key_id
}

resource "aws_ecr_repository" "this" {
  for_each = var.repositories

  name                 = each.value
  image_tag_mutability = var.cosign_2_evidence ? "IMMUTABLE_WITH_EXCLUSION" : "IMMUTABLE"
  # An image that something runs is not deleted because a repository left this list.
  force_delete = false

  # cosign 2 keeps all attestations of an image under one tag, sha256-DIGEST.att, and moves it with each that is added.
  # Immutable, the second one fails. Referrers need no such tag, so the filter is here only for those who must.
  dynamic "image_tag_mutability_exclusion_filter" {
    for_each = var.cosign_2_evidence ? ["sha256-*"] : []
    content {
      filter      = image_tag_mutability_exclusion_filter.value
      filter_type = "WILDCARD"
    }
  }

  # A second opinion beside hallmark's own scan, and one that is renewed without a release where the account's scanning is
  # set to continuous.
  image_scanning_configuration {
    scan_on_push = true
  }

  encryption_configuration {
    encryption_type = "KMS"
    kms_key         = aws_kms_key.registry.arn
  }

  tags = var.tags
}

locals {
  # ECR gives an image to the first rule that names one of its tags, and later rules cannot expire it. The first rule's
  # limit is more than a repository can hold, so it takes the images that have run and expires none of them.
  #
  # There is no rule for images without a tag: referrers have none, nor have the images of an index, nor has an image
  # whose release is being repaired. ECR removes referrers itself when their subject is gone.
  lifecycle = {
    rules = [
      {
        rulePriority = 1
        description  = "What has run, marked ran-..., stays"
        selection = {
          tagStatus      = "tagged"
          tagPatternList = ["ran-*"]
          countType      = "imageCountMoreThan"
          countNumber    = 1000000
        }
        action = { type = "expire" }
      },
      {
        rulePriority = 2
        description  = "What has not run in ${var.keep_days} days after its push goes"
        selection = {
          tagStatus      = "tagged"
          tagPatternList = ["*"]
          countType      = "sinceImagePushed"
          countUnit      = "days"
          countNumber    = var.keep_days
        }
        action = { type = "expire" }
      },
    ]
  }
}

resource "aws_ecr_lifecycle_policy" "this" {
  for_each = aws_ecr_repository.this

  repository = each.value.name
  policy     = jsonencode(local.lifecycle)
}

data "aws_caller_identity" "this" {}

resource "aws_ecr_replication_configuration" "this" {
  count = length(var.replica_regions) > 0 ? 1 : 0

  replication_configuration {
    rule {
      dynamic "destination" {
        for_each = var.replica_regions
        content {
          region      = destination.value
          registry_id = data.aws_caller_identity.this.account_id
        }
      }

      dynamic "repository_filter" {
        for_each = var.repositories
        content {
          filter      = repository_filter.value
          filter_type = "PREFIX_MATCH"
        }
      }
    }
  }

  # The first replicated push makes the repository over there, by these templates; without them, with mutable tags.
  depends_on = [aws_ecr_repository_creation_template.replica]
}

resource "aws_ecr_repository_creation_template" "replica" {
  for_each = { for pair in setproduct(var.replica_regions, var.repositories) : "${pair[0]}/${pair[1]}" => { region = pair[0], name = pair[1] } }

  region               = each.value.region
  prefix               = each.value.name
  description          = "Copies of ${each.value.name}: as immutable as the original"
  applied_for          = ["REPLICATION"]
  image_tag_mutability = "IMMUTABLE"
  lifecycle_policy     = jsonencode(local.lifecycle)
  # A key of the other region would have to be made there; AES256 is ECR's own encryption.
  encryption_configuration {
    encryption_type = "AES256"
  }
}

check "tags_are_immutable" {
  assert {
    condition     = !var.cosign_2_evidence
    error_message = "UNSAFE: tags sha256-* can be moved. Whoever may push can take evidence away, which stops admission, though not forge it. Attest with hallmark or cosign 3 and set cosign_2_evidence to false."
  }
}
